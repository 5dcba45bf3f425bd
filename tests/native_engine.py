"""Small generators for the compiled engine, and the engine built from them; needs a compiler."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from choreo.diffusion.schedule import Prediction
from choreo.errors import MissingDependency
from choreo.generators.sample_inputs import sample_inputs
from choreo.generators.spec import GeneratorSpec
from choreo.generators.unet.config import UNetConfig
from choreo.generators.unet.graphs import unet_spec
from choreo.generators.unet.network import MotionUNet
from choreo.generators.windowed_denoiser import Denoiser
from export.native.compiling import find_compiler
from export.native.package import NativePackage, build_native

Inputs = dict[str, NDArray[np.float32]]


def has_compiler() -> bool:
    try:
        find_compiler()
    except MissingDependency:
        return False
    return True


needs_compiler = pytest.mark.skipif(not has_compiler(), reason="the compiled engine needs the GNU C++ compiler")


def small_denoiser(
    window: int = 24, channels: int = 6, prediction: Prediction = Prediction.X0, seed: int = 0, **changes: object
) -> tuple[Denoiser, GeneratorSpec]:
    """A denoiser with random weights everywhere, also where training begins with zeros."""
    spec = unet_spec(
        "small", window=window, context_tokens=5, context_dim=12, music_dim=6, text_dim=7,
        rhythm_channels=3, prediction=prediction, num_train_timesteps=50, mean=(0.0,) * channels, std=(1.0,) * channels,
    )  # fmt: skip
    fields: dict[str, object] = {
        "channels": channels, "rhythm_channels": 3, "model_channels": 16, "channel_mult": (1, 2), "num_res_blocks": 1,
        "attention_resolutions": (1, 2), "num_heads": 2, "context_dim": 12, "num_groups": 4,
    }  # fmt: skip
    torch.manual_seed(seed)
    denoiser = Denoiser(MotionUNet(UNetConfig.model_validate(fields | changes)), spec).eval()
    with torch.no_grad():
        for p in denoiser.network.parameters():
            p.normal_(std=0.15)
        denoiser.gaussian.variances.uniform_(0.01, 2)
        denoiser.gaussian.axes.copy_(torch.linalg.qr(torch.randn(channels, channels))[0])
    return denoiser, spec


def build_denoiser(
    denoiser: torch.nn.Module, spec: GeneratorSpec, folder: Path, processor: str = "native"
) -> NativePackage:
    graph = spec.graph("denoiser")
    samples = partial(sample_inputs, graph)
    return build_native(denoiser, graph.input_shapes, graph.output_shapes, folder, samples, "unet", processor)


def torch_rows(denoiser: torch.nn.Module, inputs: Inputs) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(denoiser(*(torch.from_numpy(values) for values in inputs.values())))


def some_inputs(spec: GeneratorSpec, rows: int, seed: int = 0, **changes: Callable[[NDArray], NDArray]) -> Inputs:
    """Random rows; `changes` makes another tensor of the one of that name."""
    inputs = sample_inputs(spec.graph("denoiser"), rows, seed)
    return inputs | {name: change(inputs[name]).astype(np.float32) for name, change in changes.items()}


def program_of(folder: Path) -> Path:
    return folder / "native.bin"
