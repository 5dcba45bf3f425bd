"""The reverse process of one request, for any generator whose rows are windows of one timeline.

A request of any length is one timeline in the song's own frame, cut into overlapping windows. A step evaluates every
window, by its conditional row and those of guidance; guidance and the blend of the windows are both linear, so
predictions are added to one timeline as they come, in any order, and the step is complete when the last row has come.
Windows therefore agree in their overlap at every step, and memory grows with the timeline, not with the rows.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.guidance import CONDITIONAL, TEXT_ONLY, row_weights
from choreo.diffusion.noise import INITIAL, gaussian, gaussian_at
from choreo.diffusion.parameters import DiffusionParameters
from choreo.diffusion.schedule import NoiseSchedule, Prediction
from choreo.diffusion.step import Sampler, Weights
from choreo.diffusion.windows import shares, timeline_length
from choreo.generators.spec import GeneratorSpec, GraphSpec, Null
from choreo.motion.representation import Representation, representation

OVERLAP: Final = 64
"""Frames that neighbouring windows share."""
CHUNK: Final = 4096
"""Frames of a timeline that a step works on at a time, so that its temporary arrays are small next to an hour."""
GRID: Final = 2.0**40
"""Steps of 1 that predictions which are blended are rounded to, some 1e-12 of what they are."""
EVERYWHERE: Final = (0.0, 1.0)

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a request is denoised.

    Attributes:
        sampler: reverse steps.
        num_steps: denoising steps.
        guidance_scale: 1 needs no unconditional rows.
        text_guidance, music_guidance: separate scales, see `choreo.diffusion.guidance`; None for both: one scale.
        guidance_interval: lowest and highest noise, t / T, at which guidance acts (Kynkaanniemi et al. 2024).
        seed: of the addressed noise.
        deadline: instant of `time.monotonic` after which the result is of no use.
        weight: share of the step batches, relative to other requests.
        full_bones_below: noise, t / T, up to which bones in predictions are given their full lengths
            (`Representation.full_bones`). Between two motions a network predicts their mean, in which bodies shrink;
            later steps then decide for one of them. At high noise a mean is the right prediction.
    """

    sampler: Sampler
    num_steps: int
    guidance_scale: float = 1.0
    text_guidance: float | None = None
    music_guidance: float | None = None
    guidance_interval: tuple[float, float] = EVERYWHERE
    seed: int = 0
    deadline: float = float("inf")
    weight: float = 1.0
    full_bones_below: float = 0.0

    @property
    def row_weights(self) -> tuple[float, ...]:
        """Weights of a window's rows where guidance acts, see `choreo.diffusion.guidance.row_weights`."""
        return row_weights(self.guidance_scale, self.text_guidance, self.music_guidance)


@dataclass(eq=False)
class ReverseProcess:
    """A `choreo.generators.base.Trajectory` over the steps of a sampler.

    Attributes:
        spec: of the generator.
        denoiser: the graph that is evaluated, with the inputs `x` (window, C) and `t` (1), and one output.
        plan: how it is denoised.
        starts: first frames of the windows.
        encoded: rows of the graph's inputs with `Null.ENCODED`: one per window, with separate guidance one more per
            window that has its text only, and one null row at the end.
        timelines: all other inputs, each (length, C).
        adjust: what a request makes of every prediction (length, C) of the whole timeline, in the network's units.
        overlap: frames that neighbouring windows share.
        x: (length, C) the timeline as it is now.
        index: of the step that is next, or under way.
        repeats: (T,) places, in frames, of those whose noise the first frames of the timeline have; None: their own.
        guided: whether this step has rows other than conditional ones.
        rows: of this step, 0 when done: the conditional ones, one per window, then in a guided step as many
            unconditional ones, and as many that have the text only where text and music are guided separately.
    """

    spec: GeneratorSpec
    denoiser: GraphSpec
    plan: Plan
    starts: Sequence[int]
    encoded: Mapping[str, Array]
    timelines: Mapping[str, Array]
    adjust: Callable[[Array], Array] | None = None
    overlap: int = OVERLAP
    index: int = 0
    repeats: NDArray[np.floating] | None = None
    guided: bool = field(init=False)
    rows: int = field(init=False)
    x: Array = field(init=False)
    _evaluated: int = field(init=False, default=0)
    _parameters: DiffusionParameters = field(init=False)
    _representation: Representation = field(init=False)
    _schedule: NoiseSchedule = field(init=False)
    _pairs: NDArray[np.int64] = field(init=False)
    _weights: Weights = field(init=False)
    """Of every step, in order."""
    _row_weights: tuple[float, ...] = field(init=False)
    _rounded: bool = field(init=False)
    _total: NDArray[np.floating] = field(init=False)
    """Predictions so far, guided and blended. Where more than two rows meet, their order would show in float32; in
    float64 they are rounded to a grid first (`add`)."""
    _missing: int = field(init=False, default=0)
    _x0: Array = field(init=False)
    """What the step before predicted, for multistep samplers."""

    def __post_init__(self) -> None:
        sampler = self.plan.sampler
        chunks = range(0, self.length, CHUNK)
        self.x = np.concatenate([self._noise(slice(first, first + CHUNK), INITIAL) for first in chunks])
        self._x0 = np.zeros_like(self.x) if sampler.multistep else self.x[:0]
        self._parameters = DiffusionParameters.of(self.spec)
        self._representation = representation(self.spec.representation)
        self._schedule, self._pairs, self._weights = _steps(sampler, self._parameters, self.plan.num_steps)
        self._output = next(iter(self.denoiser.output_shapes))
        self._unconditional = {t.name: t.null for t in self.denoiser.inputs if t.name in self.timelines}
        self._shares = shares(self.starts, self.spec.window, self.overlap)
        self._row_weights = self.plan.row_weights
        self._rounded = len(self.starts) > 1 or len(self._row_weights) > 2
        self._total = np.zeros((self.length, self.spec.channels), np.float64 if self._rounded else np.float32)
        self._begin()

    @property
    def deadline(self) -> float:
        """The plan's."""
        return self.plan.deadline

    @property
    def weight(self) -> float:
        """The plan's."""
        return self.plan.weight

    @property
    def graph(self) -> str:
        """Name of the denoiser's graph."""
        return self.denoiser.name

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
        """Whether every row of this step has been added."""
        return self._missing == 0

    @property
    def progress(self) -> str:
        """Step under way, for messages."""
        return f"step {self.index} of {self.plan.num_steps}"

    @property
    def evaluated(self) -> Mapping[str, int]:
        """Rows that went through the denoiser so far."""
        return {self.graph: self._evaluated}

    @property
    def t(self) -> int:
        """Timestep of this step."""
        return int(self._pairs[self.index, 0])

    def fill_constant(self, row: int, inputs: Mapping[str, Array], at: int) -> None:
        """Write what does not change from step to step of a row into position `at` of the denoiser's inputs."""
        kind, window = divmod(row, len(self.starts))
        conditional, source = kind == CONDITIONAL, {CONDITIONAL: window, TEXT_ONLY: len(self.starts) + window}
        for name, values in self.encoded.items():
            inputs[name][at] = values[source.get(kind, -1)]
        start = self.starts[window]
        for name, null in self._unconditional.items():
            if conditional or null is Null.SAME:
                inputs[name][at] = self.timelines[name][start : start + self.spec.window]
            else:
                inputs[name][at] = 1 if null is Null.ONES else 0

    def fill_step(self, row: int, inputs: Mapping[str, Array], at: int) -> None:
        """Write x and t of a row into position `at`."""
        start = self.starts[row % len(self.starts)]
        inputs["x"][at] = self.x[start : start + self.spec.window]
        inputs["t"][at] = self.t

    def add(self, row: int, outputs: Mapping[str, Array]) -> None:
        """Take in the prediction (window, C) of a row of this step."""
        kind, window = divmod(row, len(self.starts))
        scale = self._row_weights[kind] if self.guided else 1.0
        start = self.starts[window]
        part = np.asarray(scale * self._shares[window], self._total.dtype) * outputs[self._output]
        if self._rounded:
            # Sums of such numbers below 4096 are exact, and so the same in any order.
            np.rint(np.multiply(part, GRID, out=part), out=part)
            part /= GRID
        self._total[start : start + self.spec.window] += part
        self._missing -= 1
        self._evaluated += 1

    def repeat(self) -> None:
        """Forget what was added to this step: it is evaluated again."""
        self._begin()

    def advance(self) -> None:
        """Make the step, when its rows are complete."""
        chunk = CHUNK if self.adjust is None else self.length
        for first in range(0, self.length, chunk):
            self._advance(slice(first, first + chunk))
        self.index += 1
        self._begin()

    def result(self) -> Array:
        """The timeline (length, C) in the network's units."""
        return self.x

    def _advance(self, frames: slice) -> None:
        """`Sampler.step` in place, with the weights that are known already."""
        sampler, index, weights = self.plan.sampler, self.index, self._weights
        x, x0 = self.x[frames], self._predicted_x0(frames)
        x *= np.float32(weights.x[index])
        x += np.float32(weights.x0[index]) * x0
        if sampler.multistep:
            x += np.float32(weights.before[index]) * self._x0[frames]
            self._x0[frames] = x0
        if sampler.stochastic:
            x += np.float32(weights.noise[index]) * self._noise(frames)

    def _predicted_x0(self, frames: slice) -> Array:
        output, prediction = self._total[frames], self._parameters.prediction
        if prediction is not Prediction.X0:
            output = self._schedule.predicted_x0(output, self.x[frames], np.array([self.t]), prediction)
        if self._wants_full_bones():
            output = self.spec.normalize(self._representation.full_bones(self.spec.denormalize(output)))
        return np.asarray(output if self.adjust is None else self.adjust(output), np.float32)

    def _wants_full_bones(self) -> bool:
        """Not in the last prediction, whose short bones tell the rigid fit what not to believe."""
        low = self.t < self.plan.full_bones_below * self._parameters.num_train_timesteps
        return low and self.index < self.plan.num_steps - 1 and self.spec.channels == self._representation.channels

    def _begin(self) -> None:
        low, high = self.plan.guidance_interval
        noise = None if self.done else self.t / self._parameters.num_train_timesteps
        self.guided = len(self._row_weights) > 1 and noise is not None and low <= noise <= high
        self.rows = 0 if self.done else len(self.starts) * (len(self._row_weights) if self.guided else 1)
        self._total.fill(0)
        self._missing = self.rows

    def _noise(self, frames: slice, step: int | None = None) -> Array:
        """Addressed noise of some frames, of the step under way or of another."""
        end = min(frames.stop, self.length)
        at = self.index if step is None else step
        if self.repeats is None:
            return gaussian(self.plan.seed, frames.start, end - frames.start, self.spec.channels, at)
        places = np.arange(frames.start, end)
        repeated = np.rint(self.repeats[frames.start : end]).astype(np.int64)
        places[: len(repeated)] = repeated
        return gaussian_at(self.plan.seed, places, self.spec.channels, at)


@functools.lru_cache(maxsize=64)
def _steps(
    sampler: Sampler, parameters: DiffusionParameters, num_steps: int
) -> tuple[NoiseSchedule, NDArray[np.int64], Weights]:
    """Schedule, timesteps (S, 2) and weights of the steps: the same for all requests with as many."""
    schedule = parameters.noise_schedule()
    pairs = sampler.timesteps(schedule, num_steps)
    t, t_prev = pairs.T
    return schedule, pairs, sampler.weights(schedule, t, t_prev, np.concatenate([[-1], t[:-1]]))
