"""The peers that can be measured."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from choreo.errors import InvalidInput


@dataclass(frozen=True)
class Peer:
    """One server to measure.

    Attributes:
        run: module of `bench.peers` and its arguments.
        environment: environment variables of its process.
        fields: request fields in addition to the common ones; None removes a field.
        songs: whether it accepts requests of more than one window.
    """

    name: str
    run: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    songs: bool = False

    @property
    def equal(self) -> bool:
        """Whether its requests are the common ones."""
        return not self.fields

    def command(self, port: int) -> list[str]:
        """The command that serves it on a loopback port."""
        return [sys.executable, "-m", "bench.peers", self.run[0], str(port), *self.run[1:]]


_STEP_BATCHES: Final = {"CHOREO_EXECUTOR": "step-batches", "CHOREO_SHARED_MEMORY": "true"}
_FAST: Final = {"preset": "fast", "num_steps": None, "sampler": None}

BASELINE: Final = "documents-torch"
PEERS: Final = (
    Peer(BASELINE, ("documents", "torch")),
    Peer("documents-onnx", ("documents", "onnx")),
    Peer("litserve", ("litserve_batch",)),
    Peer("ray-batch", ("ray_batch",)),
    Peer("choreo-requests", ("choreo_stack",), _STEP_BATCHES | {"CHOREO_EXECUTOR": "requests"}),
    Peer("choreo-batched", ("choreo_stack",), _STEP_BATCHES, songs=True),
    Peer("choreo-batched-bytes", ("choreo_stack",), _STEP_BATCHES | {"CHOREO_SHARED_MEMORY": "false"}),
    Peer("choreo-fast", ("choreo_stack",), _STEP_BATCHES, _FAST),
)


def find_peers(names: Sequence[str]) -> list[Peer]:
    """Peers by their names, in the order of the table.

    Raises:
        InvalidInput: a name is unknown, or there are no names.
    """
    known = [peer.name for peer in PEERS]
    for name in names:
        if name not in known:
            raise InvalidInput("peers", f"must be of {', '.join(known)}, got {name[:32]!r}")
    if not names:
        raise InvalidInput("peers", f"must be of {', '.join(known)}, got none")
    return [peer for peer in PEERS if peer.name in names]
