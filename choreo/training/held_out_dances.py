"""Dances to held-out music and captions while a generator trains, and how they score.

Conditions and noise are the same at every validation, so that checkpoints are compared with like.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from choreo.data.windows.windows import Window, WindowOptions
from choreo.diffusion.parameters import DiffusionParameters
from choreo.diffusion.presets import Preset
from choreo.diffusion.samplers import sampler
from choreo.errors import InvalidInput
from choreo.evaluation.motions import Motions
from choreo.evaluation.scorecard import score
from choreo.generators.base import Conditioning, GenerationRequest, run, zeros
from choreo.generators.network import GeneratorNetwork
from choreo.generators.registry import generator
from choreo.generators.spec import GeneratorSpec
from choreo.motion.representation import Representation, representation
from choreo.music.beats import ONSET_CHANNEL, beats_of, downbeats_of

log = logging.getLogger(__name__)

CONDITIONS: Final = WindowOptions(
    mirror=0.0,
    music_gain=0.0,
    prior_from_self=0.0,
    known=0.0,
    drop_music=0.0,
    drop_text=0.0,
    drop_all=0.0,
    drop_bars=0.0,
)
"""How held-out windows are cut to be danced to: with all that belongs to them, and nothing of their own motion."""


@dataclass(frozen=True)
class HeldOutDances:
    """Held-out windows, of which the first `count` are danced to.

    Attributes:
        spec: contract of the generator.
        windows: with their own motion, which the dances are compared with.
        count: dances that are made, in one batch.
        way: sampler, steps and where guidance acts.
        guidance_scale: classifier-free guidance; 1 needs no unconditional rows.
    """

    spec: GeneratorSpec
    windows: Sequence[Window]
    count: int
    way: Preset
    guidance_scale: float

    @classmethod
    def of(
        cls, spec: GeneratorSpec, windows: Dataset[Window], length: int, count: int, way: Preset, guidance_scale: float
    ) -> "HeldOutDances":
        """Cut `length` windows of a data set, of which at most `count` are danced to.

        Raises:
            InvalidInput: no such sampler, or more steps than the generator is trained on.
        """
        sampler(way.sampler).timesteps(DiffusionParameters.of(spec).noise_schedule(), way.num_steps)
        cut = [windows[i] for i in range(length)]
        return cls(spec, cut, min(count, length), way, guidance_scale)

    def scores(self, network: GeneratorNetwork) -> dict[str, float]:
        """Every metric of the scorecard that can be computed, next to those of held-out motion; none of broken dances.

        `real/...` has the same of the motion that the windows themselves hold.
        """
        try:
            return self.judged(self.dance(network)) | {f"real/{k}": v for k, v in self.real.items()}
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

    @property
    def _motion(self) -> Representation:
        return representation(self.spec.representation)

    @cached_property
    def real(self) -> dict[str, float]:
        """The metrics of the motion in the windows that are danced to."""
        return self.judged(self._reference.positions[: self.count])

    def dance(self, network: GeneratorNetwork) -> list[NDArray[np.float64]]:
        """Positions (T, 22, 3) of one dance for each of the first windows, as long as that window."""
        begin = generator(self.spec).begin
        trajectories = [begin(self._request(i), _conditioning(w)) for i, w in enumerate(self.windows[: self.count])]
        run(trajectories, network.evaluate, lambda graph, rows: zeros(self.spec.graph(graph), rows))
        return [self._motion.decode(trajectory.result()) for trajectory in trajectories]

    def _request(self, index: int) -> GenerationRequest:
        prior = self.windows[index]["prior"]
        return GenerationRequest(
            num_steps=self.way.num_steps,
            sampler=self.way.sampler,
            guidance_scale=self.guidance_scale,
            guidance_interval=(self.way.guidance_low, self.way.guidance_high),
            seed=index,
            prior=prior[:, :-1],
            prior_mask=prior[:, -1],
        )

    @cached_property
    def _reference(self) -> Motions:
        own = [self._motion.decode(w["x0"][: int(w["frame_mask"].sum())]) for w in self.windows]
        return Motions("held out", own)

    def _motions(self, name: str, positions: Sequence[NDArray[np.float64]]) -> Motions:
        """Motions with the beats of the windows that have any."""
        grids = [beats_of(window["rhythm"]) for window in self.windows[: self.count]]
        return Motions(name, positions, beats=[grid if len(grid) else None for grid in grids])


def _conditioning(window: Window) -> Conditioning:
    """What the window was cut with, for a motion of its length."""
    frames = int(window["frame_mask"].sum())
    text = window["text"] if window["has_text"][0] else None
    if not window["has_music"][0]:
        return Conditioning(frames, text=text)
    rhythm = window["rhythm"][:frames]
    return Conditioning(
        frames, window["music"][:frames], text, beats_of(rhythm), rhythm[:, ONSET_CHANNEL], downbeats_of(rhythm)
    )
