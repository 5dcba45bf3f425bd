"""Conditioner and transformer as one network."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from choreo.generators.dit.adaln import AdaLNDiT
from choreo.generators.dit.config import DiTGeneratorConfig
from choreo.generators.dit.crossattn import CrossAttentionDiT
from choreo.generators.dit.incontext import InContextDiT
from choreo.generators.dit.network import MotionDiT
from choreo.generators.windowed_denoiser import Denoiser
from choreo.generators.windowed_network import WindowedNetwork
from choreo.models.conditioner import Conditioner

BACKBONES: Final[Mapping[str, type[MotionDiT]]] = {
    "dit-adaln": AdaLNDiT,
    "dit-crossattn": CrossAttentionDiT,
    "dit-incontext": InContextDiT,
}
"""Networks by the name of their family."""


class DiTModel(WindowedNetwork):
    """The two networks of one transformer generator; the spec's family says which transformer."""

    config: DiTGeneratorConfig
    conditioner: Conditioner
    denoiser: Denoiser

    def __init__(self, config: DiTGeneratorConfig) -> None:
        conditioner = Conditioner(config.conditioner, config.music_mean, config.music_std)
        network = BACKBONES[config.spec.family](config.denoiser)
        super().__init__(config, conditioner, Denoiser(network, config.spec))

    def fit(self, windows: NDArray[np.floating]) -> None:
        """Fit the Gaussian model that the denoiser improves on."""
        self.denoiser.gaussian.fit(windows)

    def expected_errors(self, alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the Gaussian model's posterior mean."""
        return self.denoiser.gaussian.expected_errors(alphas_cumprod)
