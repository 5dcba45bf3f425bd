"""musicnn (Pons and Serra 2019): how likely 50 tags fit three seconds of music, and what they are told from.

Convolutions over time and frequency that listen for timbre (7 frames of 38 or 67 bands) and for rhythm (32, 64 or 128
frames of one band), each followed by its largest value over frequencies; three convolutions over time; the largest and
the mean value over time; and two dense layers. NumPy evaluates it: the large convolutions are products of matrices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact
from choreo.music.tagging.log_mel import BANDS
from choreo.music.weights_file import load_weights
from choreo.shipped import shipped

Array = NDArray[np.float32]

WINDOW: Final = 187
"""Frames of log-mel spectrum that are heard together: 3 s."""
TAGS: Final = 50
EMBEDDING_DIM: Final = 200
MODELS: Final = ("msd", "mtt")
"""Trained with the Million Song Dataset (genres and moods), and with MagnaTagATune (instruments and voices)."""

TIMBRAL: Final = {"timbral.38": (7, 38), "timbral.67": (7, 67)}
TEMPORAL: Final = {"temporal.128": 128, "temporal.64": 64, "temporal.32": 32}
_NUM_TIMBRAL, _NUM_TEMPORAL, _NUM_MIDDLE = 204, 51, 64
_FRONT: Final = len(TIMBRAL) * _NUM_TIMBRAL + len(TEMPORAL) * _NUM_TEMPORAL
_CONTEXT: Final = 7
_BLOCK: Final = 8
"""Frames whose patches are made at a time: they stay in the processor's cache."""
_POOLED: Final = _FRONT + 3 * _NUM_MIDDLE


def _layer(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a product of matrices, and of the normalisation of its rectified result."""
    return {
        f"{name}.weight": (inputs, outputs),
        **{f"{name}.{part}": (outputs,) for part in ("bias", "scale", "shift")},
    }


SHAPES: Final[Mapping[str, tuple[int, ...]]] = {
    "input.scale": (1,),
    "input.shift": (1,),
    **{key: shape for name, (t, f) in TIMBRAL.items() for key, shape in _layer(name, t * f, _NUM_TIMBRAL).items()},
    **{key: shape for name, t in TEMPORAL.items() for key, shape in _layer(name, t, _NUM_TEMPORAL).items()},
    **_layer("middle.0", _CONTEXT * _FRONT, _NUM_MIDDLE),
    **_layer("middle.1", _CONTEXT * _NUM_MIDDLE, _NUM_MIDDLE),
    **_layer("middle.2", _CONTEXT * _NUM_MIDDLE, _NUM_MIDDLE),
    "pooled.scale": (2 * _POOLED,),
    "pooled.shift": (2 * _POOLED,),
    **_layer("dense", 2 * _POOLED, EMBEDDING_DIM),
    "out.weight": (EMBEDDING_DIM, TAGS),
    "out.bias": (TAGS,),
}
"""Arrays of the file. Convolutions are matrices whose rows run over time, then over frequencies or channels."""


@dataclass(frozen=True)
class Heard:
    """What the network heard in one window.

    Attributes:
        probabilities: float32 (50,), of each tag; they do not exclude each other.
        embedding: float32 (200,), the penultimate layer.
    """

    probabilities: Array
    embedding: Array


class Musicnn:
    """The network.

    Args:
        weights: arrays of `SHAPES`.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.floating]]) -> None:
        self._weights = {name: np.ascontiguousarray(weights[name], np.float32) for name in SHAPES}
        for name in (*TIMBRAL, *TEMPORAL):
            # The largest value after the normalisation is the smallest before it where the scale is negative: with the
            # sign of these filters changed, it is the largest in any case.
            sign = np.where(self._weights[f"{name}.scale"] < 0, -1, 1).astype(np.float32)
            self._weights[f"{name}.sign"] = sign
            self._weights[f"{name}.weight"] = self._weights[f"{name}.weight"] * sign
            self._weights[f"{name}.bias"] = self._weights[f"{name}.bias"] * sign

    @classmethod
    def shipped(cls, model: str = "msd") -> "Musicnn":
        """One of `MODELS`, with the weights that come with the program.

        Raises:
            MissingDependency: they are not there.
            InvalidArtifact: they are broken.
        """
        return cls(read_weights(shipped("weights", "musicnn", f"{model}.safetensors")))

    def hear(self, window: Array) -> Heard:
        """What is in a log-mel spectrum float32 (187, 96)."""
        weights = self._weights
        if window.shape != (WINDOW, BANDS):
            raise ValueError(f"a window must be ({WINDOW}, {BANDS}), got {window.shape}")
        x = window * weights["input.scale"] + weights["input.shift"]
        front = np.concatenate(
            [
                *(self._timbral(x, name, width) for name, (_, width) in TIMBRAL.items()),
                *(self._temporal(x, name, length) for name, length in TEMPORAL.items()),
            ],
            1,
        )
        first = self._middle(front, "middle.0")
        second = first + self._middle(first, "middle.1")
        third = second + self._middle(second, "middle.2")
        features = np.concatenate([front, first, second, third], 1)
        pooled = np.stack([features.max(0), features.mean(0)], 1).ravel()
        pooled = pooled * weights["pooled.scale"] + weights["pooled.shift"]
        embedding = self._normalised(pooled @ weights["dense.weight"] + weights["dense.bias"], "dense")
        logits = embedding @ weights["out.weight"] + weights["out.bias"]
        return Heard(1 / (1 + np.exp(-logits)), embedding)

    def _timbral(self, x: Array, name: str, width: int) -> Array:
        """(187, 204): filters of 7 frames and some bands, at the band where they fit best."""
        padded = np.pad(x, ((_CONTEXT // 2, _CONTEXT // 2), (0, 0)))
        patches = np.lib.stride_tricks.sliding_window_view(padded, (_CONTEXT, width))
        weight = self._weights[f"{name}.weight"]
        fits = np.empty((WINDOW, weight.shape[1]), np.float32)
        for first in range(0, WINDOW, _BLOCK):
            block = patches[first : first + _BLOCK]
            products = block.reshape(-1, len(weight)) @ weight
            fits[first : first + _BLOCK] = products.reshape(len(block), -1, weight.shape[1]).max(1)
        return self._largest(fits, name)

    def _temporal(self, x: Array, name: str, length: int) -> Array:
        """(187, 51): filters of some frames of one band, at the band where they fit best."""
        padded = np.pad(x.T, ((0, 0), ((length - 1) // 2, length // 2)))
        patches = np.lib.stride_tricks.sliding_window_view(padded, length, axis=1)
        weight = self._weights[f"{name}.weight"]
        fits = np.full((WINDOW, weight.shape[1]), -np.inf, np.float32)
        for band in patches:
            np.maximum(fits, np.ascontiguousarray(band) @ weight, out=fits)  # BLAS takes no overlapping rows
        return self._largest(fits, name)

    def _largest(self, fits: Array, name: str) -> Array:
        """Rectified and normalised filters (187, filters), of their largest values over frequencies."""
        return self._normalised((fits + self._weights[f"{name}.bias"]) * self._weights[f"{name}.sign"], name)

    def _middle(self, x: Array, name: str) -> Array:
        """(187, 64): a convolution over 7 frames of all channels."""
        padded = np.pad(x, ((_CONTEXT // 2, _CONTEXT // 2), (0, 0)))
        patches = np.concatenate([padded[offset : offset + WINDOW] for offset in range(_CONTEXT)], 1)
        return self._normalised(patches @ self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"], name)

    def _normalised(self, x: Array, name: str) -> Array:
        out: Array = np.maximum(x, 0) * self._weights[f"{name}.scale"] + self._weights[f"{name}.shift"]
        return out


def read_weights(path: Path) -> dict[str, NDArray[np.floating]]:
    """Arrays of `SHAPES` from a safetensors file.

    Raises:
        MissingDependency: there is no such file.
        InvalidArtifact: it is broken, or holds something else.
    """
    weights = load_weights(path, "music tagger")
    for name, shape in SHAPES.items():
        if name not in weights or weights[name].shape != shape:
            raise InvalidArtifact(f"{path} holds no {name} of shape ({', '.join(map(str, shape))})")
    return weights
