"""Windows in the units of the networks."""

import torch
from torch import Tensor

Batch = dict[str, Tensor]


def normalized(batch: Batch, mean: Tensor, std: Tensor) -> Batch:
    """A batch of `data.windows.windows` with `x0`, `known` and `prior` normalised, and zero where nothing is known.

    Args:
        batch: shapes as in `ModelSpec`, with a batch axis.
        mean: (C,) of the features.
        std: (C,) of the features.
    """
    present = batch["prior"][..., -1:]
    prior = (batch["prior"][..., :-1] - mean) / std * present
    return batch | {
        "x0": (batch["x0"] - mean) / std * batch["frame_mask"][..., None],
        "known": (batch["known"] - mean) / std * batch["known_mask"],
        "prior": torch.cat([prior, present], dim=2),
    }
