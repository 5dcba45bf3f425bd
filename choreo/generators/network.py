"""The torch side of a generator: its weights, and its graphs as modules."""

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from choreo.generators.base import Tensors
from choreo.generators.config import GeneratorConfig
from choreo.generators.spec import GeneratorSpec


class GeneratorNetwork(nn.Module):
    """All weights of one generator."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def spec(self) -> GeneratorSpec:
        """The contract."""
        return self.config.spec

    @abstractmethod
    def graphs(self) -> Mapping[str, nn.Module]:
        """Module of each graph of the spec; its arguments are the graph's inputs in order."""

    def fit(self, windows: NDArray[np.floating]) -> None:
        """Take from normalised training windows (N, T, C) what is not learned by gradients; called before training."""

    def expected_errors(self, alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error of x0 at noise levels (B,), and that of its change from frame to frame, without learning.

        Training counts errors in units of these, so that every noise level has its say.
        """
        return torch.ones_like(alphas_cumprod), torch.ones_like(alphas_cumprod)

    @torch.no_grad()
    def evaluate(self, graph: str, inputs: Tensors) -> Tensors:
        """Outputs of a graph for rows of inputs, on the network's device."""
        device = next(self.parameters()).device
        names = self.spec.graph(graph).input_shapes
        out = self.graphs()[graph](*(torch.from_numpy(inputs[name]).to(device) for name in names))
        values = out if isinstance(out, tuple) else (out,)
        arrays = (value.float().cpu().numpy() for value in values)
        return dict(zip(self.spec.graph(graph).output_shapes, arrays, strict=True))
