"""A Ray cluster of several nodes on this machine."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from serving.util.temporary import safe_folder

OBJECT_STORE_BYTES: Final = 100 << 20
LONGEST: Final = 16
"""Characters of the folder that theirs is in: Unix sockets have short paths."""
FOLDER: Final = "RAY_TMPDIR"


@contextlib.contextmanager
def simulated_nodes(count: int) -> Iterator[str]:
    """Address of a cluster of nodes that have one CPU each; they end with the block."""
    with tempfile.TemporaryDirectory(prefix="rc-", dir=safe_folder(LONGEST)) as folder:
        (Path(folder) / "ray").mkdir()
        before = os.environ.get(FOLDER)
        os.environ |= {FOLDER: folder, "RAY_USAGE_STATS_ENABLED": "0"}
        cluster: Any = None
        try:
            from ray.cluster_utils import Cluster

            logging.getLogger("ray").setLevel(logging.WARNING)
            options = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
            cluster = Cluster(initialize_head=True, head_node_args=options | {"include_dashboard": False})
            for _ in range(count - 1):
                cluster.add_node(**options)
            yield str(cluster.address)
        finally:
            if cluster is not None:
                cluster.shutdown()
            os.environ.pop(FOLDER)
            if before is not None:
                os.environ[FOLDER] = before
