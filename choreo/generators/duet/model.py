"""The network of a duet generator with what a checkpoint says of it."""

from collections.abc import Mapping

from torch import Tensor, nn

from choreo.generators.duet.config import DuetConfig
from choreo.generators.duet.graphs import FOLLOWER
from choreo.generators.duet.network import DuetFollower
from choreo.generators.network import GeneratorNetwork
from choreo.models.posterior import Posterior


class DuetNetwork(GeneratorNetwork):
    """All weights of one duet generator."""

    config: DuetConfig

    def __init__(self, config: DuetConfig) -> None:
        super().__init__(config)
        self.follower = DuetFollower(config.network, config.windows)

    def graphs(self) -> Mapping[str, nn.Module]:
        """The only network."""
        return {FOLLOWER: self.follower}

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, list[Posterior]]:
        """The states after each of a window, and posteriors; tensors as in the spec."""
        names = ("leader", "states", "known", "role", "noise")
        return self.follower.every(*(inputs[name] for name in names))
