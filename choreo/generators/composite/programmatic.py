"""A composite generator as a few calls, without servers: a motion, its key poses, and their frames.

composite = Composite.load(Path("weights/composite"))
motion, keyframes, frames = composite.generate("a slow waltz", length=120)
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.base import Conditioning, GenerationRequest, run, zeros
from choreo.generators.checkpoint import load_generator
from choreo.generators.composite.generator import CompositeGenerator
from choreo.generators.composite.model import CompositeNetwork
from choreo.generators.composite.trajectory import CompositeTrajectory
from choreo.models.tokenizer_config import TOKEN_FRAMES
from choreo.motion.representation import representation
from choreo.text.encoders import text_encoder

SECOND = 30
"""Frames."""
MAX_FRAMES = 3600 * SECOND
"""An hour."""


class Generated(NamedTuple):
    """A motion (T, 22, 3), its key poses (K, 22, 3), both metres and y up, and their frames (K,); not finished."""

    motion: NDArray[np.float64]
    keyframes: NDArray[np.float64]
    frames: NDArray[np.int64]


@dataclass(frozen=True)
class Composite:
    """A composite generator in this process, evaluated by torch."""

    network: CompositeNetwork

    @classmethod
    def load(cls, checkpoint: Path) -> Self:
        """The generator of a checkpoint folder.

        Raises:
            InvalidArtifact: it is missing, broken, or no composite generator's.
        """
        network = load_generator(checkpoint)
        if not isinstance(network, CompositeNetwork):
            raise InvalidArtifact(
                f"{checkpoint} is a generator of the family {network.spec.family}, not a composite one"
            )
        return cls(network)

    def generate(
        self,
        prompt: str | None = None,
        length: int | None = 120,
        *,
        heard: Conditioning | None = None,
        request: GenerationRequest | None = None,
        min_length: int = SECOND,
        max_length: int = 60 * SECOND,
    ) -> Generated:
        """One motion.

        Args:
            prompt: what is danced; None: what `heard` says.
            length: frames; None: until the language model ends, between `min_length` and `max_length`.
            heard: song, beats and sentences, of any length; None: no song.
            request: seed, sampler, steps, guidance and what is given; None: the defaults.
            min_length: frames.
            max_length: frames.

        Raises:
            InvalidInput: a length is out of range, or the request cannot be fulfilled.
            MissingDependency: the text encoder is not on this machine.
        """
        least, most = (min_length, max_length) if length is None else (length, length)
        for field, frames in (("length" if length is not None else "min_length", least), ("max_length", most)):
            if not 1 <= frames <= MAX_FRAMES:
                raise InvalidInput(field, f"must be from 1 to {MAX_FRAMES} frames, got {frames}")
        if least > most:
            raise InvalidInput("min_length", f"is {least} frames, more than the {most} of max_length")
        conditioning = replace(heard or Conditioning(most), num_frames=most)
        if prompt is not None:
            text = text_encoder(self.network.spec.text_encoder).encode([prompt])[0]
            conditioning = replace(conditioning, text=text)
        return self._made(conditioning, request or GenerationRequest(), -(-least // TOKEN_FRAMES))

    def _made(self, conditioning: Conditioning, request: GenerationRequest, min_tokens: int) -> Generated:
        network, spec = self.network, self.network.spec
        generator, most = CompositeGenerator(spec), -(-conditioning.num_frames // TOKEN_FRAMES)
        trajectory = CompositeTrajectory(generator, request, conditioning, None, min_tokens, most)
        run([trajectory], network.evaluate, lambda graph, rows: zeros(spec.graph(graph), rows))
        motion = representation(spec.representation).decode(trajectory.result(), spec.fps)
        return Generated(motion, trajectory.key_poses.positions, trajectory.key_poses.frames)
