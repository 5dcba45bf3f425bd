"""The torch side of diffusion over windows: a conditioner and a denoiser."""

from collections.abc import Mapping

from torch import Tensor, nn

from choreo.generators.config import GeneratorConfig
from choreo.generators.network import GeneratorNetwork
from choreo.generators.windowed import CONDITIONER, DENOISER


class WindowedNetwork(GeneratorNetwork):
    """Both networks of one generator, called the way the exported graphs are called."""

    def __init__(self, config: GeneratorConfig, conditioner: nn.Module, denoiser: nn.Module) -> None:
        super().__init__(config)
        self.conditioner, self.denoiser = conditioner, denoiser

    def graphs(self) -> Mapping[str, nn.Module]:
        """Both networks."""
        return {CONDITIONER: self.conditioner, DENOISER: self.denoiser}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Condition and denoise one training batch: tensors named and shaped as in the spec, with a batch axis."""
        conditioner, denoiser = self.spec.graph(CONDITIONER), self.spec.graph(DENOISER)
        encoded = self.conditioner(*(batch[name] for name in conditioner.input_shapes))
        values = encoded if isinstance(encoded, tuple) else (encoded,)
        batch = batch | dict(zip(conditioner.output_shapes, values, strict=True))
        return self.denoiser(*(batch[name] for name in denoiser.input_shapes))
