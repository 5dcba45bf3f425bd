"""Training windows of couples, each a function of (seed, index): a resumed run sees the same data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from choreo.data.couple import Couple
from choreo.errors import InvalidInput
from choreo.motion.pose_states import Ground, states_of
from choreo.motion.resample import resample
from choreo.motion.skeleton import MIRROR

Window = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class CoupleOptions:
    """How windows of couples are cut and varied.

    Attributes:
        frames: W of the follower that a network sees.
        look_ahead: frames that the leader is seen ahead of the frame that is predicted.
        swap: share of windows in which the second dancer is the one that is given.
        mirror: share that is reflected.
        heading: standard deviation of the turn of the window's axes, radians.
        tempos: speeds at which the dances are seen.
        from_nothing: share of windows in which nothing of the follower is known.
        from_a_frame: share in which the follower is known from a random frame on.
    """

    frames: int = 64
    look_ahead: int = 6
    swap: float = 0.0
    mirror: float = 0.5
    heading: float = 0.3
    tempos: tuple[float, ...] = (1.0, 0.87, 1.15)
    from_nothing: float = 0.15
    from_a_frame: float = 0.2

    @property
    def span(self) -> int:
        """Frames of the leader in a window: those of the follower, the one that is predicted, and those ahead."""
        return self.frames + 1 + self.look_ahead

    def without_variation(self) -> "CoupleOptions":
        """The same windows as they were danced, at the tempo that they were danced at."""
        return CoupleOptions(
            self.frames, self.look_ahead, self.swap, 0.0, 0.0, (1.0,), self.from_nothing, self.from_a_frame
        )


@dataclass(frozen=True)
class _Track:
    """A take as it is seen: positions (2, T, 22, 3) and states (2, T, 135) of both dancers, and what it weighs."""

    positions: NDArray[np.float32]
    states: NDArray[np.float32]
    weight: float = field(default=1.0)

    @classmethod
    def of(cls, dancers: NDArray[np.float64], weight: float) -> "_Track":
        return cls(dancers.astype(np.float32), np.stack([states_of(d) for d in dancers]).astype(np.float32), weight)


class CoupleWindows(Dataset[Window]):
    """`length` random windows of couples.

    With W = `frames` and S = `span`: `leader` (S, 22, 3), the dancer that is given, of whom frame i is that of the
    follower's frame i; `follower` (W + 1, 135), states, the last of which is the one to come; `first` (1,), the first
    frame of the follower that is known, W where none is; `role` (1,), 1 where the second dancer is the one given.
    Axes are those of the leader's place and heading in the first frame. Before `first` the leader stands as in that
    frame.

    Raises:
        InvalidInput: no couple is long enough.
    """

    def __init__(self, couples: Sequence[Couple], length: int, options: CoupleOptions, seed: int = 0) -> None:
        self.couples, self.length, self.options, self.seed = tuple(couples), length, options, seed
        if not self._tracks:
            raise InvalidInput("data", f"holds no couple of {options.span} frames or more")

    @cached_property
    def _tracks(self) -> list[list[_Track]]:
        """Takes by whether they are reflected."""
        sides = []
        for mirrored in (False, True):
            if mirrored and not self.options.mirror:
                continue
            tracks = []
            for couple in self.couples:
                dancers = couple.dancers[:, :, list(MIRROR)] * (-1, 1, 1) if mirrored else couple.dancers
                for tempo in self.options.tempos:
                    seen = np.stack([resample(d, 30.0 * tempo, 30.0) for d in dancers])
                    if seen.shape[1] >= self.options.span:
                        tracks.append(_Track.of(seen, float(seen.shape[1])))
            if tracks:
                sides.append(tracks)
        return sides

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Window:
        rng, options = np.random.default_rng((self.seed, index)), self.options
        tracks = self._tracks[1 if rng.random() < options.mirror and len(self._tracks) > 1 else 0]
        weights = np.array([track.weight for track in tracks])
        track = tracks[int(rng.choice(len(tracks), p=weights / weights.sum()))]
        role = int(rng.random() < options.swap)
        start = int(rng.integers(track.positions.shape[1] - options.span + 1))
        first = self._first(rng)
        leader = track.positions[role, start : start + options.span]
        leader = leader[np.maximum(np.arange(len(leader)), first)]
        ground = Ground.below(leader[0], rng.normal() * options.heading)
        follower = ground.seen_states(track.states[1 - role, start : start + options.frames + 1])
        window = {"leader": ground.seen(leader), "follower": follower, "first": np.array([first]), "role": [role]}
        return {name: np.asarray(values, np.float32) for name, values in window.items()}

    def _first(self, rng: np.random.Generator) -> int:
        """The first frame of the follower that is known."""
        draw, options = rng.random(), self.options
        if draw < options.from_nothing:
            return options.frames
        return int(rng.integers(options.frames)) if draw < options.from_nothing + options.from_a_frame else 0
