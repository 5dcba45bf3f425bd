"""BeatNet (Heydari, Cwitkowitz and Duan 2021): how likely each instant of a song is a beat or a downbeat.

A convolution over frequencies, a linear layer, two layers of LSTM over time, and a choice between beat, downbeat and
neither. The three networks that its authors trained on different data are averaged. NumPy evaluates them together:
what depends on one frame is a product of matrices over all frames, and only the recurrence goes frame by frame.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact
from choreo.music.compiling import load_kernels
from choreo.music.weights_file import load_weights
from choreo.shipped import shipped

Array = NDArray[np.float32]

WEIGHTS: Final = "beatnet.safetensors"
SHAPES: Final = {
    "conv.weight": (2, 10),
    "conv.bias": (2,),
    "linear.weight": (150, 262),
    "linear.bias": (150,),
    "lstm.0.input": (600, 150),
    "lstm.0.hidden": (600, 150),
    "lstm.0.bias": (600,),
    "lstm.1.input": (600, 150),
    "lstm.1.hidden": (600, 150),
    "lstm.1.bias": (600,),
    "out.weight": (3, 150),
    "out.bias": (3,),
}
"""Of one network; the file stacks networks along a first axis, as float16. Gates are input, forget, cell, output."""

_LAYERS: Final = 2
_BLOCK: Final = 2048
"""Frames whose layers before the recurrence are evaluated together."""


class BeatNet:
    """The networks.

    Args:
        weights: arrays of `SHAPES` with the networks as first axis.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.floating]]) -> None:
        self._weights = {name: np.asarray(weights[name], np.float32) for name in SHAPES}

    @classmethod
    def shipped(cls) -> "BeatNet":
        """With the weights that come with the program.

        Raises:
            MissingDependency: they are not there.
            InvalidArtifact: they are broken.
        """
        return cls(read_weights(shipped("weights", "beatnet", WEIGHTS)))

    def activations(self, spectrum: Array) -> Array:
        """Probabilities of beat and downbeat, float32 (T, 2), of `log_spectrum` (T, 272)."""
        weights = self._weights
        x = np.concatenate(
            [
                np.zeros((len(weights["linear.bias"]), 0, 150), np.float32),
                *(self._before(spectrum[first : first + _BLOCK]) for first in range(0, len(spectrum), _BLOCK)),
            ],
            1,
        )
        for layer in range(_LAYERS):
            x = self._recurrence(x, f"lstm.{layer}")
        logits = x @ weights["out.weight"].swapaxes(1, 2) + weights["out.bias"][:, None]
        likelihoods = np.exp(logits - logits.max(-1, keepdims=True))
        likelihoods /= likelihoods.sum(-1, keepdims=True)
        out: Array = likelihoods[..., :2].mean(0)
        return out

    def _before(self, spectrum: Array) -> Array:
        """(networks, T, 150): convolution, the larger of each two neighbours, and the linear layer."""
        weights = self._weights
        networks, channels, size = weights["conv.weight"].shape
        width = spectrum.shape[1] - size + 1
        # The convolution as one product with a band matrix: faster than many with a kernel of ten numbers.
        band = np.zeros((spectrum.shape[1], width, networks, channels), np.float32)
        places = np.arange(width)
        for offset in range(size):
            band[places + offset, places] = weights["conv.weight"][:, :, offset]
        out = (spectrum @ band.reshape(spectrum.shape[1], -1)).reshape(len(spectrum), width, networks, channels)
        out = np.maximum(out + weights["conv.bias"], 0)
        out = out[:, : width // 2 * 2].reshape(len(spectrum), -1, 2, networks, channels).max(2)
        flat = out.transpose(2, 0, 3, 1).reshape(networks, len(spectrum), -1)
        x: Array = flat @ weights["linear.weight"].swapaxes(1, 2) + weights["linear.bias"][:, None]
        return x

    def _recurrence(self, x: Array, layer: str) -> Array:
        """Hidden states (networks, T, 150) of one LSTM layer."""
        weights, lstm = self._weights, load_kernels().lstm
        width = x.shape[-1]
        half = np.full(4 * width, 0.5, np.float32)
        half[2 * width : 3 * width] = 1
        inputs = (x @ weights[f"{layer}.input"].swapaxes(1, 2) + weights[f"{layer}.bias"][:, None]) * half
        recurrent = np.ascontiguousarray(weights[f"{layer}.hidden"].swapaxes(1, 2) * half)
        # One network after the other: the weights of one stay in the processor's cache.
        return np.stack([lstm(of_one, its_own) for of_one, its_own in zip(inputs, recurrent, strict=True)])


def read_weights(path: Path) -> dict[str, NDArray[np.floating]]:
    """Arrays of `SHAPES` from a safetensors file.

    Raises:
        MissingDependency: there is no such file.
        InvalidArtifact: it is broken, or holds something else.
    """
    weights = load_weights(path, "beat tracker")
    for name, shape in SHAPES.items():
        if name not in weights or weights[name].shape[1:] != shape:
            raise InvalidArtifact(f"{path} holds no {name} of shape (networks, {', '.join(map(str, shape))})")
    return weights
