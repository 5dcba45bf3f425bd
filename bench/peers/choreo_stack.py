"""This program as `choreo serve` starts it, configured by CHOREO_* variables."""

import os

from serving.ray.stack import Stack
from serving.settings import Settings


def serve(port: int) -> None:
    """Serve on a loopback port."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `choreo serve` does, for its child processes
    with Stack(Settings(port=port)) as stack:
        stack.wait()
