"""One request in flight: what is constant over its steps, and how far it has come.

A request of any length is one timeline in the song's own frame, cut into overlapping windows. A step evaluates every
window, conditional and unconditional rows; guidance and the blend of the windows are both linear, so predictions are
added to one timeline as they come, in any order, and the step is complete when the last row has come. Windows therefore
agree in their overlap at every step, and memory grows with the timeline, not with the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.noise import INITIAL, gaussian
from choreo.diffusion.schedule import NoiseSchedule, timestep_pairs
from choreo.diffusion.step import Before, Sampler
from choreo.models.spec import ModelSpec
from serving.windows import ramps, timeline_length

OVERLAP: Final = 64
"""Frames that neighbouring windows share."""
EVERYWHERE: Final = (0.0, 1.0)
TIMELINES: Final = ("prior", "rhythm", "known", "known_mask")
"""Inputs of the denoiser that are cut from a timeline; unconditional rows see neither prior nor rhythm."""
UNCONDITIONAL: Final = frozenset({"known", "known_mask"})

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a request is denoised.

    Attributes:
        method: sampler.
        num_steps: denoising steps.
        guidance_scale: 1 needs no unconditional rows.
        guidance_interval: lowest and highest noise, t / T, at which the scale is not 1 (Kynkaanniemi et al. 2024).
        seed: of the addressed noise.
        deadline: instant of `time.monotonic` after which the result is of no use.
        weight: share of the waves, next to those of the others.
    """

    method: Sampler
    num_steps: int
    guidance_scale: float = 1.0
    guidance_interval: tuple[float, float] = EVERYWHERE
    seed: int = 0
    deadline: float = float("inf")
    weight: float = 1.0


@dataclass(eq=False)
class Trajectory:
    """State of one request.

    Attributes:
        spec: of the model.
        plan: how it is denoised.
        starts: first frames of the windows.
        context: rows of the conditioner, one per window, and one null row at the end.
        timelines: inputs of `TIMELINES`, each (length, C).
        x: (length, C) the timeline as it is now.
        index: of the step that is next, or under way.
        evaluated: rows that went through the denoiser so far.
    """

    spec: ModelSpec
    plan: Plan
    starts: Sequence[int]
    context: dict[str, Array]
    timelines: dict[str, Array]
    index: int = 0
    evaluated: int = 0
    x: Array = field(init=False)
    _pairs: NDArray[np.int64] = field(init=False)
    _total: NDArray[np.float64] = field(init=False)
    _missing: int = field(init=False, default=0)
    _before: tuple[Array, int] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.x = gaussian(self.plan.seed, 0, self.length, self.spec.channels, INITIAL)
        self._pairs = timestep_pairs(self.plan.num_steps, self.spec.num_train_timesteps)
        self._ramps, self._weight = ramps(self.starts, self.spec.window, OVERLAP)
        self._begin()

    @property
    def length(self) -> int:
        """Frames of the timeline, the last window's end."""
        return timeline_length(list(self.starts), self.spec.window)

    @property
    def done(self) -> bool:
        """Whether the last step was made."""
        return self.index == self.plan.num_steps

    @property
    def complete(self) -> bool:
        """Whether every row of this step has come."""
        return self._missing == 0

    @property
    def guided(self) -> bool:
        """Whether this step has unconditional rows."""
        low, high = self.plan.guidance_interval
        return self.plan.guidance_scale != 1.0 and low <= self.t / self.spec.num_train_timesteps <= high

    @property
    def t(self) -> int:
        """Timestep of this step."""
        return int(self._pairs[self.index, 0])

    @property
    def rows(self) -> int:
        """Rows of this step; the first half of a guided step's, one per window, are the conditional ones."""
        return len(self.starts) * (2 if self.guided else 1)

    def fill_constant(self, row: int, buffer: dict[str, Array], at: int) -> None:
        """Write what does not change from step to step of a row into position `at` of a wave's inputs."""
        window, conditional = row % len(self.starts), row < len(self.starts)
        for name, values in self.context.items():
            buffer[name][at] = values[window if conditional else -1]
        start = self.starts[window]
        for name in TIMELINES:
            seen = conditional or name in UNCONDITIONAL
            buffer[name][at] = self.timelines[name][start : start + self.spec.window] if seen else 0
        buffer["frame_mask"][at] = 1

    def fill_step(self, row: int, buffer: dict[str, Array], at: int) -> None:
        """Write x and t of a row into position `at`."""
        start = self.starts[row % len(self.starts)]
        buffer["x"][at] = self.x[start : start + self.spec.window]
        buffer["t"][at] = self.t

    def add(self, row: int, output: Array) -> None:
        """Take in the prediction (window, C) of a row of this step."""
        window, conditional = row % len(self.starts), row < len(self.starts)
        scale = (self.plan.guidance_scale if conditional else 1 - self.plan.guidance_scale) if self.guided else 1.0
        start = self.starts[window]
        self._total[start : start + self.spec.window] += (scale * self._ramps[window])[:, None] * output
        self._missing -= 1
        self.evaluated += 1

    def repeat(self) -> None:
        """Forget what came of this step, which is evaluated again."""
        self._begin()

    def _begin(self) -> None:
        self._total = np.zeros((self.length, self.spec.channels))
        self._missing = 0 if self.done else self.rows

    def _output(self) -> Array:
        return (self._total / self._weight[:, None]).astype(np.float32)


def advance(trajectories: Sequence[Trajectory], schedule: NoiseSchedule) -> None:
    """Make the step of trajectories whose rows are complete; those alike in length and method as rows of one update."""
    ordered = sorted(trajectories, key=_likeness)
    for _, alike in groupby(ordered, key=_likeness):
        _advance_alike(list(alike), schedule)


def _likeness(trajectory: Trajectory) -> tuple[int, str]:
    return trajectory.length, trajectory.plan.method.name


def _advance_alike(some: Sequence[Trajectory], schedule: NoiseSchedule) -> None:
    spec, method = some[0].spec, some[0].plan.method
    t, t_prev = np.array([trajectory._pairs[trajectory.index] for trajectory in some]).T
    x = np.stack([trajectory.x for trajectory in some])
    output = np.stack([trajectory._output() for trajectory in some])
    x0 = schedule.predicted_x0(output, x, t, spec.prediction).astype(np.float32)
    noise = np.stack([_noise(trajectory) for trajectory in some]) if method.stochastic else None
    before = _before(some, x0) if method.multistep else None
    stepped = method.step(schedule, x, x0, t, t_prev, noise, before)
    for row, trajectory in enumerate(some):
        trajectory.x = stepped[row]
        if method.multistep:
            trajectory._before = (x0[row], int(t[row]))
        trajectory.index += 1
        trajectory._begin()


def _noise(trajectory: Trajectory) -> Array:
    return gaussian(trajectory.plan.seed, 0, trajectory.length, trajectory.spec.channels, trajectory.index)


def _before(some: Sequence[Trajectory], like: Array) -> Before:
    known = [trajectory._before for trajectory in some]
    x0 = np.stack([np.zeros_like(like[0]) if b is None else b[0] for b in known])
    return Before(x0, np.array([-1 if b is None else b[1] for b in known]))
