"""Attention as ONNX Runtime's own operator, which processes each head in cache and needs no transpositions.

Only for graphs that ONNX Runtime evaluates: the operator is not part of ONNX, and other runtimes do not know it.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.models.layers import MASKED, Attention

OPERATOR = "com.microsoft::MultiHeadAttention"


class FusedAttention(nn.Module):
    """`choreo.models.layers.Attention` with the same weights. It can be exported, but not run.

    The projections of positions are the same for every row, and because attention weights sum to 1 the bias of the
    values passes through to the output. Both are constants, which the runtime computes once.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.query, self.key = attention.query, attention.key
        self.value, self.output = attention.value, attention.output

    def forward(self, x: Tensor, keys: Tensor, mask: Tensor, x_position: Tensor, key_position: Tensor) -> Tensor:
        """Attend from `x` to `keys`.

        Args:
            x: (B, N, C).
            keys: (B, M, K).
            mask: (B, M), 1 for keys that exist.
            x_position: (N, C), added to `x` for the queries.
            key_position: (M, K), added to `keys` for the keys.

        Returns:
            (B, N, C).
        """
        q = F.linear(x, self.query.weight) + self.query(x_position)
        k = F.linear(keys, self.key.weight) + self.key(key_position)
        out = torch.onnx.ops.symbolic(
            OPERATOR,
            (q, k, F.linear(keys, self.value.weight), None, mask.to(torch.int32)),
            {"num_heads": self.num_heads, "mask_filter_value": MASKED},
            dtype=q.dtype,
            shape=q.shape,
            version=1,
        )
        bias = F.linear(self.value.bias, self.output.weight, self.output.bias)
        return F.linear(out, self.output.weight, bias)


def fused_copy(module: nn.Module) -> nn.Module:
    """A copy of a network in which every `Attention` is a `FusedAttention`."""
    out = copy.deepcopy(module)
    for parent in list(out.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Attention):
                setattr(parent, name, FusedAttention(child))
    return out.eval()
