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
from choreo.diffusion.schedule import NoiseSchedule
from choreo.diffusion.step import Before, Sampler
from choreo.models.spec import ModelSpec
from serving.windows import ramps, timeline_length

OVERLAP: Final = 64
"""Frames that neighbouring windows share."""
AT_ONCE: Final = 4096
"""Frames of a timeline that a step works on at a time: what it computes on the way is small next to an hour."""
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
    _x0: Array = field(init=False)
    """What the step before predicted, for samplers that look back."""
    _t_before: int = field(init=False, default=-1)

    def __post_init__(self) -> None:
        parts = range(0, self.length, AT_ONCE)
        self.x = np.concatenate([self._noise(slice(first, first + AT_ONCE), INITIAL) for first in parts])
        self._x0 = np.zeros_like(self.x) if self.plan.method.multistep else self.x[:0]
        schedule = NoiseSchedule.make(self.spec.schedule, self.spec.num_train_timesteps)
        self._pairs = self.plan.method.timesteps(schedule, self.plan.num_steps)
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
        """Rows of this step, none when done; the first half of a guided step's, one per window, are conditional."""
        return 0 if self.done else len(self.starts) * (2 if self.guided else 1)

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
        self._missing = self.rows

    def _output(self, frames: slice) -> Array:
        return (self._total[frames] / self._weight[frames, None]).astype(np.float32)

    def _noise(self, frames: slice, step: int | None = None) -> Array:
        """Addressed noise of some frames, of the step under way or of another."""
        end = min(frames.stop, self.length)
        at = self.index if step is None else step
        return gaussian(self.plan.seed, frames.start, end - frames.start, self.spec.channels, at)


def advance(trajectories: Sequence[Trajectory], schedule: NoiseSchedule) -> None:
    """Make the step of trajectories whose rows are complete; those alike in length and method as rows of one update."""
    ordered = sorted(trajectories, key=_likeness)
    for _, alike in groupby(ordered, key=_likeness):
        _advance_alike(list(alike), schedule)


def _likeness(trajectory: Trajectory) -> tuple[int, str]:
    return trajectory.length, trajectory.plan.method.name


def _advance_alike(some: Sequence[Trajectory], schedule: NoiseSchedule) -> None:
    method = some[0].plan.method
    t, t_prev = np.array([trajectory._pairs[trajectory.index] for trajectory in some]).T
    for first in range(0, some[0].length, AT_ONCE):
        frames = slice(first, first + AT_ONCE)
        x = np.stack([trajectory.x[frames] for trajectory in some])
        output = np.stack([trajectory._output(frames) for trajectory in some])
        x0 = schedule.predicted_x0(output, x, t, some[0].spec.prediction).astype(np.float32)
        noise = np.stack([trajectory._noise(frames) for trajectory in some]) if method.stochastic else None
        before = _before(some, frames) if method.multistep else None
        stepped = method.step(schedule, x, x0, t, t_prev, noise, before)
        for row, trajectory in enumerate(some):
            trajectory.x[frames] = stepped[row]
            if method.multistep:
                trajectory._x0[frames] = x0[row]
    for row, trajectory in enumerate(some):
        trajectory._t_before = int(t[row])
        trajectory.index += 1
        trajectory._begin()


def _before(some: Sequence[Trajectory], frames: slice) -> Before:
    """What the step before predicted of some frames."""
    return Before(
        np.stack([trajectory._x0[frames] for trajectory in some]),
        np.array([trajectory._t_before for trajectory in some]),
    )
