"""From tokens to a draft of the motion, window by window, of which only single frames are used."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.windows import window_starts
from choreo.generators.base import Array, Tensors
from choreo.generators.constraints import MAX_SPEED
from choreo.generators.spec import GeneratorSpec
from choreo.motion.representation import representation

MARGIN = 0.9
"""Share of the greatest speed of the root that a draft may have: key poses must be reachable."""


class Draft:
    """The tokeniser's decoder over all tokens of a request: one row a window."""

    def __init__(self, tokens: Sequence[int], window: int, patch: int) -> None:
        """A draft without features yet.

        Args:
            tokens: of the motion, 1 or more.
            window: tokens that the decoder takes.
            patch: frames of a token.
        """
        self._tokens, self._window, self._patch = np.array(tokens, np.float32), window, patch
        overlap = window // 2
        self._starts = window_starts(len(tokens), window, overlap)
        cuts = [after + overlap // 2 for _, after in pairwise(self._starts)]
        self._kept = list(zip([0, *cuts], [*cuts, len(tokens)], strict=True))
        self._parts: dict[int, Array] = {}

    @property
    def rows(self) -> int:
        """Windows."""
        return len(self._starts)

    @property
    def complete(self) -> bool:
        """Whether all of them are decoded."""
        return len(self._parts) == self.rows

    def fill(self, row: int, inputs: Tensors, at: int) -> None:
        """Write a window into position `at` of the decoder's inputs."""
        part = self._tokens[self._starts[row] : self._starts[row] + self._window]
        inputs["tokens"][at], inputs["token_mask"][at] = 0, 0
        inputs["tokens"][at, : len(part)], inputs["token_mask"][at, : len(part)] = part, 1

    def add(self, row: int, outputs: Mapping[str, Array]) -> None:
        """Take in a window's features; those far from its ends are kept."""
        first, stop = (np.array(self._kept[row]) - self._starts[row]) * self._patch
        self._parts[row] = np.array(outputs["features"][first:stop])

    def forget(self) -> None:
        """Forget all windows."""
        self._parts.clear()

    def features(self, spec: GeneratorSpec) -> NDArray[np.float64]:
        """(frames, C), not normalised, with bones of full length and a root that is not too fast."""
        motion = representation(spec.representation)
        made = motion.full_bones(spec.denormalize(np.concatenate([self._parts[row] for row in range(self.rows)])))
        velocity = motion.root_velocity_of(made)
        speed = np.linalg.norm(velocity, axis=-1, keepdims=True)
        made[:, motion.root_velocity] = velocity * np.minimum(1, MARGIN * MAX_SPEED / np.maximum(speed, 1e-9))
        return made
