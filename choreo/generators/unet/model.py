"""Conditioner and U-Net as one network."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from choreo.generators.unet.config import UNetGeneratorConfig
from choreo.generators.unet.network import MotionUNet
from choreo.generators.windowed_denoiser import Denoiser
from choreo.generators.windowed_network import WindowedNetwork
from choreo.models.conditioner import Conditioner


class UNetModel(WindowedNetwork):
    """The two networks of one U-Net generator."""

    config: UNetGeneratorConfig
    conditioner: Conditioner
    denoiser: Denoiser

    def __init__(self, config: UNetGeneratorConfig) -> None:
        conditioner = Conditioner(config.conditioner, config.music_mean, config.music_std)
        super().__init__(config, conditioner, Denoiser(MotionUNet(config.denoiser), config.spec))

    def fit(self, windows: NDArray[np.floating]) -> None:
        """Fit the Gaussian model that the denoiser improves on."""
        self.denoiser.gaussian.fit(windows)

    def expected_errors(self, alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the Gaussian model's posterior mean."""
        return self.denoiser.gaussian.expected_errors(alphas_cumprod)
