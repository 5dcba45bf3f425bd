"""Which peers there are."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from choreo.errors import InvalidInput


@dataclass(frozen=True)
class Peer:
    """One contender.

    Attributes:
        run: module of `bench.peers` and its arguments.
        environment: settings of its process.
        fields: of its requests, beside those of all; None takes one away.
        songs: whether motion of more than one window can be asked for.
    """

    name: str
    run: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    songs: bool = False

    @property
    def equal(self) -> bool:
        """Whether it is asked for the same as all."""
        return not self.fields

    def command(self, port: int) -> list[str]:
        """What runs it on a loopback port."""
        return [sys.executable, "-m", "bench.peers", self.run[0], str(port), *self.run[1:]]


_WAVES: Final = {"CHOREO_EXECUTOR": "waves", "CHOREO_SHARED_MEMORY": "true"}
_FAST: Final = {"preset": "fast", "num_steps": None, "sampler": None}

BASELINE: Final = "documents-torch"
PEERS: Final = (
    Peer(BASELINE, ("documents", "torch")),
    Peer("documents-onnx", ("documents", "onnx")),
    Peer("litserve", ("litserve_batch",)),
    Peer("ray-batch", ("ray_batch",)),
    Peer("choreo-requests", ("choreo_stack",), _WAVES | {"CHOREO_EXECUTOR": "requests"}),
    Peer("choreo-waves", ("choreo_stack",), _WAVES, songs=True),
    Peer("choreo-waves-bytes", ("choreo_stack",), _WAVES | {"CHOREO_SHARED_MEMORY": "false"}),
    Peer("choreo-fast", ("choreo_stack",), _WAVES, _FAST),
)


def peers(names: Sequence[str]) -> list[Peer]:
    """Peers by their names, in the order of the table.

    Raises:
        InvalidInput: there is none of a name, or no name.
    """
    known = [peer.name for peer in PEERS]
    for name in names:
        if name not in known:
            raise InvalidInput("peers", f"must be of {', '.join(known)}, got {name[:32]!r}")
    if not names:
        raise InvalidInput("peers", f"must be of {', '.join(known)}, got none")
    return [peer for peer in PEERS if peer.name in names]
