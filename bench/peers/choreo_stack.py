"""This program as `choreo serve` starts it: Triton, Ray Serve, and whatever CHOREO_* variables set."""

import os

from serving.ray.stack import Stack
from serving.settings import Settings


def serve(port: int) -> None:
    """Serve on a loopback port."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command does, for the processes that it starts
    with Stack(Settings(port=port)) as stack:
        stack.wait()
