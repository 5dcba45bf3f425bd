"""One request in flight: what is constant over its steps, and how far it has come.

A request of any length is one timeline in the song's own frame, cut into overlapping windows. A step evaluates every
window, conditional and unconditional rows; guidance and the blend of the windows are both linear, so predictions are
added to one timeline as they come, in any order, and the step is complete when the last row has come. Windows therefore
agree in their overlap at every step, and memory grows with the timeline, not with the rows.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.noise import INITIAL, gaussian
from choreo.diffusion.schedule import NoiseSchedule
from choreo.diffusion.step import Sampler, Weights
from choreo.diffusion.windows import shares, timeline_length
from choreo.generators.spec import ModelSpec, Prediction, ScheduleName

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
        guided: whether this step has unconditional rows.
        rows: of this step, none when done; the first half of a guided step's, one per window, are conditional.
        evaluated: rows that went through the denoiser so far.
    """

    spec: ModelSpec
    plan: Plan
    starts: Sequence[int]
    context: dict[str, Array]
    timelines: dict[str, Array]
    index: int = 0
    guided: bool = field(init=False)
    rows: int = field(init=False)
    evaluated: int = 0
    x: Array = field(init=False)
    _schedule: NoiseSchedule = field(init=False)
    _pairs: NDArray[np.int64] = field(init=False)
    _weights: Weights = field(init=False)
    """Of every step, in order."""
    _total: NDArray[np.floating] = field(init=False)
    """Predictions so far, guided and blended. Where more than two rows meet, their order would show in float32."""
    _missing: int = field(init=False, default=0)
    _x0: Array = field(init=False)
    """What the step before predicted, for samplers that look back."""

    def __post_init__(self) -> None:
        method = self.plan.method
        parts = range(0, self.length, AT_ONCE)
        self.x = np.concatenate([self._noise(slice(first, first + AT_ONCE), INITIAL) for first in parts])
        self._x0 = np.zeros_like(self.x) if method.multistep else self.x[:0]
        self._schedule, self._pairs, self._weights = _course(
            method, self.spec.schedule, self.spec.num_train_timesteps, self.plan.num_steps
        )
        self._shares = shares(self.starts, self.spec.window, OVERLAP)
        self._total = np.zeros((self.length, self.spec.channels), np.float32 if len(self.starts) == 1 else np.float64)
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
    def t(self) -> int:
        """Timestep of this step."""
        return int(self._pairs[self.index, 0])

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
        share = np.asarray(scale * self._shares[window], self._total.dtype)
        self._total[start : start + self.spec.window] += share * output
        self._missing -= 1
        self.evaluated += 1

    def repeat(self) -> None:
        """Forget what came of this step, which is evaluated again."""
        self._begin()

    def advance(self) -> None:
        """Make the step, when its rows are complete."""
        for first in range(0, self.length, AT_ONCE):
            self._advance(slice(first, first + AT_ONCE))
        self.index += 1
        self._begin()

    def _advance(self, frames: slice) -> None:
        """`Sampler.step` in place, with the weights that are known already."""
        method, index, weights = self.plan.method, self.index, self._weights
        x, x0 = self.x[frames], self._predicted_x0(frames)
        x *= np.float32(weights.x[index])
        x += np.float32(weights.x0[index]) * x0
        if method.multistep:
            x += np.float32(weights.before[index]) * self._x0[frames]
            self._x0[frames] = x0
        if method.stochastic:
            x += np.float32(weights.noise[index]) * self._noise(frames)

    def _predicted_x0(self, frames: slice) -> Array:
        output = self._total[frames]
        if self.spec.prediction is not Prediction.X0:
            output = self._schedule.predicted_x0(output, self.x[frames], np.array([self.t]), self.spec.prediction)
        return np.asarray(output, np.float32)

    def _begin(self) -> None:
        low, high = self.plan.guidance_interval
        noise = None if self.done else self.t / self.spec.num_train_timesteps
        self.guided = self.plan.guidance_scale != 1.0 and noise is not None and low <= noise <= high
        self.rows = 0 if self.done else len(self.starts) * (2 if self.guided else 1)
        self._total.fill(0)
        self._missing = self.rows

    def _noise(self, frames: slice, step: int | None = None) -> Array:
        """Addressed noise of some frames, of the step under way or of another."""
        end = min(frames.stop, self.length)
        at = self.index if step is None else step
        return gaussian(self.plan.seed, frames.start, end - frames.start, self.spec.channels, at)


@functools.lru_cache(maxsize=64)
def _course(
    method: Sampler, name: ScheduleName, num_train_timesteps: int, num_steps: int
) -> tuple[NoiseSchedule, NDArray[np.int64], Weights]:
    """Schedule, timesteps (S, 2) and weights of the steps: the same for everybody who asks for as many."""
    schedule = NoiseSchedule.make(name, num_train_timesteps)
    pairs = method.timesteps(schedule, num_steps)
    t, t_prev = pairs.T
    return schedule, pairs, method.weights(schedule, t, t_prev, np.concatenate([[-1], t[:-1]]))
