"""Mixed precision: convolutions and matrix products in float16, norms and sums in float32.

The precision is part of the exported graph, because TensorRT's strongly typed networks do not choose it themselves.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class HalfLinear(nn.Module):
    """A linear layer that multiplies in float16 and returns float32."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach().half(), requires_grad=False)
        self.bias = nn.Parameter(layer.bias.detach().half(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) float32 -> (..., out) float32."""
        return F.linear(x.half(), self.weight, self.bias).float()


class HalfConv2d(nn.Module):
    """A convolution in float16 that returns float32."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach().half(), requires_grad=False)
        bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
        self.bias = nn.Parameter(bias.half(), requires_grad=False)
        self.stride, self.padding, self.dilation = layer.stride, layer.padding, layer.dilation

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, 1, T) float32 -> (B, C', 1, T') float32."""
        return F.conv2d(x.half(), self.weight, self.bias, self.stride, self.padding, self.dilation).float()


def half_copy(module: nn.Module) -> nn.Module:
    """A copy whose linear and convolution layers compute in float16; inputs and outputs stay float32."""
    out = copy.deepcopy(module)
    for parent in list(out.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, HalfLinear(child))
            elif isinstance(child, nn.Conv2d):
                setattr(parent, name, HalfConv2d(child))
    return out.eval()
