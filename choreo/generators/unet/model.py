"""Conditioner and U-Net as one network."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from choreo.generators.network import GeneratorNetwork
from choreo.generators.unet.config import UNetGeneratorConfig
from choreo.generators.unet.denoiser import Denoiser
from choreo.generators.unet.network import MotionUNet
from choreo.generators.windowed import CONDITIONER, DENOISER
from choreo.models.conditioner import Conditioner


class UNetModel(GeneratorNetwork):
    """The two networks of one U-Net generator, called the way the exported graphs are called."""

    def __init__(self, config: UNetGeneratorConfig) -> None:
        super().__init__(config)
        self.conditioner = Conditioner(config.conditioner, config.music_mean, config.music_std)
        self.denoiser = Denoiser(MotionUNet(config.denoiser), config.spec)

    def graphs(self) -> Mapping[str, nn.Module]:
        """Both networks."""
        return {CONDITIONER: self.conditioner, DENOISER: self.denoiser}

    def fit(self, windows: NDArray[np.floating]) -> None:
        """Fit the Gaussian model that the denoiser improves on."""
        self.denoiser.gaussian.fit(windows)

    def expected_errors(self, alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the Gaussian model's posterior mean."""
        return self.denoiser.gaussian.expected_errors(alphas_cumprod)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Condition and denoise one training batch: tensors named and shaped as in `unet_spec`, with a batch axis."""
        conditioner, denoiser = self.spec.graph(CONDITIONER), self.spec.graph(DENOISER)
        context = self.conditioner(*(batch[name] for name in conditioner.input_shapes))
        batch = batch | dict(zip(conditioner.output_shapes, context, strict=True))
        return self.denoiser(*(batch[name] for name in denoiser.input_shapes))
