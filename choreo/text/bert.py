"""BERT's encoder (Devlin et al. 2019) in NumPy, for short texts.

A prompt of a dozen tokens through six layers of 384 takes milliseconds anywhere, and the process that does it holds
neither torch nor a copy of the weights: they are mapped from their file.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact

Array = NDArray[np.float32]

_MAX_HEADER: Final = 1 << 20
_EPS: Final = 1e-12


class Bert:
    """Hidden states of a BERT encoder.

    Args:
        weights: by the names of Hugging Face's `BertModel`, linear layers as (outputs, inputs).
        heads: attention heads; they divide the width.
    """

    def __init__(self, weights: Mapping[str, Array], heads: int) -> None:
        self._weights = weights
        self._heads = heads
        self._layers = sum(name.endswith("intermediate.dense.weight") for name in weights)

    def hidden(self, tokens: NDArray[np.integer]) -> Array:
        """States float32 (N, T, width) after the last layer, of N texts of T tokens each: (N, T), without padding."""
        table = self._weights
        x = table["embeddings.word_embeddings.weight"][tokens]
        x = x + table["embeddings.position_embeddings.weight"][: tokens.shape[1]]
        x = self._norm(x + table["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(self._layers):
            prefix = f"encoder.layer.{layer}"
            attended = self._linear(self._attention(x, f"{prefix}.attention.self"), f"{prefix}.attention.output.dense")
            x = self._norm(x + attended, f"{prefix}.attention.output.LayerNorm")
            widened = _gelu(self._linear(x, f"{prefix}.intermediate.dense"))
            x = self._norm(x + self._linear(widened, f"{prefix}.output.dense"), f"{prefix}.output.LayerNorm")
        return x

    def _attention(self, x: Array, prefix: str) -> Array:
        texts, tokens, width = x.shape
        shape = (texts, tokens, self._heads, width // self._heads)
        query, key, value = (
            self._linear(x, f"{prefix}.{name}").reshape(shape).swapaxes(1, 2) for name in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(-1, -2) / np.float32(math.sqrt(shape[-1]))
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        out: Array = scores @ value
        return out.swapaxes(1, 2).reshape(x.shape)

    def _linear(self, x: Array, name: str) -> Array:
        weight = self._weights[f"{name}.weight"]
        out = (
            x.reshape(-1, x.shape[-1]) @ weight.T
        )  # one product of matrices; NumPy makes one a text of an (N, T, width)
        out += self._weights[f"{name}.bias"]
        return out.reshape(*x.shape[:-1], len(weight))

    def _norm(self, x: Array, name: str) -> Array:
        centered = x - x.mean(-1, keepdims=True)
        variance = np.einsum("...i,...i->...", centered, centered)[..., None] / x.shape[-1]
        centered /= np.sqrt(variance + np.float32(_EPS))
        centered *= self._weights[f"{name}.weight"]
        centered += self._weights[f"{name}.bias"]
        return centered


def mapped_weights(path: Path) -> dict[str, Array]:
    """The float32 tensors of a safetensors file by name, read-only and mapped: pages are shared by all processes.

    Raises:
        OSError: the file cannot be read.
        InvalidArtifact: it is no safetensors file, or shorter than it says.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, _MAX_HEADER)))
        data = np.memmap(path, np.uint8, "r", offset=8 + size)
        return {
            name: data[slice(*entry["data_offsets"])].view(np.float32).reshape(entry["shape"])
            for name, entry in header.items()
            if name != "__metadata__" and entry["dtype"] == "F32"
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArtifact(f"{path.name} is no complete safetensors file: {error}") from error


def _gelu(x: Array) -> Array:
    from scipy.special import erf

    out = erf(x * np.float32(math.sqrt(0.5)))
    out += 1
    out *= x
    out *= np.float32(0.5)
    return out
