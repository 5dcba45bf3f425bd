"""BeatNet's published weights to the file that ships: `python -m research.convert_beatnet FOLDER OUT`.

FOLDER holds `model_1_weights.pt` to `model_3_weights.pt` of the package BeatNet 1.1.3 (weights/beatnet/README.md).
"""

import sys
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.numpy import save

from choreo.files import atomic_write
from choreo.music.beat_tracking.beatnet import SHAPES, WEIGHTS

NAMES: Final = {
    "conv.weight": ("conv1.weight",),
    "conv.bias": ("conv1.bias",),
    "linear.weight": ("linear0.weight",),
    "linear.bias": ("linear0.bias",),
    "lstm.0.input": ("lstm.weight_ih_l0",),
    "lstm.0.hidden": ("lstm.weight_hh_l0",),
    "lstm.0.bias": ("lstm.bias_ih_l0", "lstm.bias_hh_l0"),
    "lstm.1.input": ("lstm.weight_ih_l1",),
    "lstm.1.hidden": ("lstm.weight_hh_l1",),
    "lstm.1.bias": ("lstm.bias_ih_l1", "lstm.bias_hh_l1"),
    "out.weight": ("linear.weight",),
    "out.bias": ("linear.bias",),
}
"""Arrays that are added up, by the name that they have here."""


def convert() -> None:
    """Write the file."""
    folder, out = map(Path, sys.argv[1:])
    networks = [torch.load(folder / f"model_{i}_weights.pt", weights_only=True) for i in (1, 2, 3)]
    arrays = {
        name: np.stack([sum(network[part].numpy() for part in parts) for network in networks])
        .reshape(-1, *SHAPES[name])
        .astype(np.float16)
        for name, parts in NAMES.items()
    }
    atomic_write(out / WEIGHTS, save(arrays))


if __name__ == "__main__":
    convert()
