"""Exponential moving average of weights."""

import torch
from torch import Tensor, nn


class Ema:
    """Float32 average of a module's parameters and buffers (`shadow`); the decay warms up as (1 + n) / (10 + n)."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.shadow = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Fold the current weights in."""
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.shadow[name].lerp_(value.to(self.shadow[name]), 1 - keep)
            else:
                self.shadow[name].copy_(value)

    def to(self, device: torch.device) -> None:
        """Move the average to a device."""
        self.shadow = {name: value.to(device) for name, value in self.shadow.items()}

    def state_dict(self) -> dict[str, object]:
        """Serialisable state."""
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            TypeError: it is something else.
        """
        updates, shadow = state["updates"], state["shadow"]
        if not isinstance(updates, int) or not isinstance(shadow, dict):
            raise TypeError("not an EMA state")
        self.updates = updates
        self.shadow = {k: v.clone() if isinstance(v, Tensor) else v for k, v in shadow.items()}
