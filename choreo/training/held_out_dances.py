"""Dances to held-out music and captions while a generator trains, and how they score.

Conditions and noise are the same at every validation, so that checkpoints are compared with like.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from choreo.data.windows.windows import Window, WindowOptions, collate
from choreo.diffusion.guidance import guide
from choreo.diffusion.noise import INITIAL, gaussian
from choreo.diffusion.presets import Preset
from choreo.diffusion.samplers import sampler
from choreo.diffusion.schedule import NoiseSchedule
from choreo.diffusion.step import Before
from choreo.diffusion.timesteps import Pairs
from choreo.errors import InvalidInput
from choreo.evaluation.motions import Motions
from choreo.evaluation.scorecard import score
from choreo.generators.checkpoint import Generator
from choreo.generators.spec import ModelSpec
from choreo.motion.representation import decode
from choreo.music.beats import beats_of
from choreo.training.normalized import Batch, normalized

log = logging.getLogger(__name__)

CONDITIONS: Final = WindowOptions(
    mirror=0.0, music_gain=0.0, prior_from_self=0.0, known=0.0, drop_music=0.0, drop_text=0.0, drop_all=0.0
)
"""How held-out windows are cut to be danced to: with all that belongs to them, and nothing of their own motion."""
NULL: Final = ("music", "text", "has_music", "has_text", "prior", "rhythm")
"""Inputs that are zero in an unconditional row."""


@dataclass(frozen=True)
class HeldOutDances:
    """Held-out windows, of which the first `count` are danced to.

    Attributes:
        spec: contract of the generator.
        windows: with their own motion, which the dances are scored beside.
        count: dances that are made, in one batch.
        way: sampler, steps and where guidance acts.
        guidance_scale: classifier-free guidance; 1 needs no unconditional rows.
    """

    spec: ModelSpec
    windows: Sequence[Window]
    count: int
    way: Preset
    guidance_scale: float

    @classmethod
    def of(
        cls, spec: ModelSpec, windows: Dataset[Window], length: int, count: int, way: Preset, guidance_scale: float
    ) -> "HeldOutDances":
        """Cut `length` windows of a data set, of which at most `count` are danced to.

        Raises:
            InvalidInput: no such sampler, or more steps than the generator is trained on.
        """
        sampler(way.sampler).timesteps(_schedule(spec), way.num_steps)
        cut = [windows[i] for i in range(length)]
        return cls(spec, cut, min(count, length), way, guidance_scale)

    def scores(self, generator: Generator) -> dict[str, float]:
        """Every metric of the scorecard that can be computed, beside the held-out motion; none of broken dances.

        `real/...` has the same of the motion that the windows themselves hold.
        """
        try:
            return self.judged(self.dance(generator)) | {f"real/{k}": v for k, v in self.real.items()}
        except InvalidInput as error:
            log.warning("the held-out dances cannot be scored: %s", error)
            return {}

    def judged(self, dances: Sequence[NDArray[np.float64]]) -> dict[str, float]:
        """Every metric that can be computed of dances to the first windows.

        Raises:
            InvalidInput: a dance is broken.
        """
        rows = score(self._motions("generated", dances), self._reference)
        return {row["metric"]: row["value"] for row in rows}

    @cached_property
    def real(self) -> dict[str, float]:
        """The metrics of the motion in the windows that are danced to."""
        return self.judged(self._reference.positions[: self.count])

    @torch.no_grad()
    def dance(self, generator: Generator) -> list[NDArray[np.float64]]:
        """Positions (T, 22, 3) of one dance for each of the first windows, as long as that window."""
        spec, schedule, method = self.spec, _schedule(self.spec), sampler(self.way.sampler)
        rows = self._rows(next(generator.parameters()).device)
        context = generator.conditioner(*(rows[name] for name in spec.conditioner_inputs()))
        constant = rows | dict(zip(spec.conditioner_outputs(), context, strict=True))
        x, before = self._noise(INITIAL), None
        for step, (t, t_prev) in enumerate(self.pairs):
            output = self._denoised(generator, constant, x, int(t))
            now, prev = np.full(self.count, t), np.full(self.count, t_prev)
            x0 = schedule.predicted_x0(output, x, now, spec.prediction)
            noise = self._noise(step) if method.stochastic else None
            x, before = method.step(schedule, x, x0, now, prev, noise, before), Before(x0, now)
        frames = [int(window["frame_mask"].sum()) for window in self.windows[: self.count]]
        return [decode(spec.denormalize(row[:n])) for row, n in zip(x, frames, strict=True)]

    @property
    def pairs(self) -> Pairs:
        """Timesteps of a dance and those that follow them."""
        return sampler(self.way.sampler).timesteps(_schedule(self.spec), self.way.num_steps)

    @property
    def evaluations(self) -> int:
        """Rows of the denoiser that one dance takes."""
        return sum(self.rows_at(int(t)) for t in self.pairs[:, 0])

    def rows_at(self, t: int) -> int:
        """Rows of one dance at a timestep: where guidance acts, one is unconditional."""
        low, high = self.way.guidance_low, self.way.guidance_high
        guided = self.guidance_scale != 1.0 and low <= t / self.spec.num_train_timesteps <= high
        return 2 if guided else 1

    def _noise(self, step: int) -> NDArray[np.float32]:
        """Addressed noise (count, T, C), each dance's own."""
        return np.stack([gaussian(i, 0, self.spec.window, self.spec.channels, step) for i in range(self.count)])

    def _rows(self, device: torch.device) -> Batch:
        """Inputs of the networks that are constant over the steps: conditional rows, then unconditional ones."""
        mean, std = (torch.tensor(v, dtype=torch.float32) for v in (self.spec.mean, self.spec.std))
        rows = normalized(collate(self.windows[: self.count]), mean, std)
        rows |= {name: torch.cat([rows[name], rows[name] * (name not in NULL)]) for name in rows}
        return {name: values.to(device) for name, values in rows.items()}

    def _denoised(self, generator: Generator, constant: Batch, x: NDArray[np.float32], t: int) -> NDArray[np.floating]:
        """Output (B, T, C) of one evaluation of every row, guided where guidance acts."""
        copies = self.rows_at(t)
        seen = torch.from_numpy(np.concatenate([x] * copies)).to(constant["prior"])
        inputs = {name: values[: len(seen)] for name, values in constant.items()}
        inputs |= {"x": seen, "t": torch.full((len(seen), 1), float(t)).to(seen)}
        output = generator.denoiser(*(inputs[name] for name in self.spec.denoiser_inputs())).float().cpu().numpy()
        if copies == 1:
            return output
        conditional, unconditional = np.split(output, 2)
        return guide(conditional, unconditional, self.guidance_scale)

    @cached_property
    def _reference(self) -> Motions:
        own = [decode(w["x0"][: int(w["frame_mask"].sum())]) for w in self.windows]
        return Motions("held out", own)

    def _motions(self, name: str, positions: Sequence[NDArray[np.float64]]) -> Motions:
        """Motions with the beats of the windows that have any."""
        grids = [beats_of(window["rhythm"]) for window in self.windows[: self.count]]
        return Motions(name, positions, beats=[grid if len(grid) else None for grid in grids])


def _schedule(spec: ModelSpec) -> NoiseSchedule:
    return NoiseSchedule.make(spec.schedule, spec.num_train_timesteps)
