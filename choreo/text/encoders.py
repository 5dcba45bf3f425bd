"""Text encoders by name."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput

TextEncoderName = Literal["minilm", "clip", "t5"]


class TextEncoder(Protocol):
    """Turns prompts into vectors of `dim` numbers."""

    @property
    def name(self) -> str:
        """The name that `text_encoder` knows."""

    @property
    def dim(self) -> int:
        """Columns of the embedding."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings float32 (N, dim) of unit length, one row per text.

        Raises:
            MissingDependency: the weights are not on this machine.
            InvalidArtifact: the weights are those of another model.
        """


def text_encoder(name: str, **options: Any) -> TextEncoder:
    """Encoder by name: `minilm` (the default), `clip` or `t5`; options go to its constructor.

    No weights are loaded before it is used.

    Raises:
        InvalidInput: no encoder has this name.
    """
    if name == "minilm":
        from choreo.text.minilm import MiniLmEncoder

        return MiniLmEncoder(**options)
    if name == "clip":
        from choreo.text.clip import ClipTextEncoder

        return ClipTextEncoder(**options)
    if name == "t5":
        from choreo.text.t5 import T5TextEncoder

        return T5TextEncoder(**options)
    raise InvalidInput("text_encoder", f"must be minilm, clip or t5, got {name!r}")
