"""What a follower's predicted states are compared by."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from choreo.generators.duet.network import facing, joints_of
from choreo.generators.duet.recipe import DuetLossWeights
from choreo.models.pose_vae import SIX, from_six
from choreo.models.posterior import Posterior
from choreo.models.sequence_vae import divergence
from choreo.motion.skeleton import NUM_JOINTS

INTERACTING: Final = (0, 4, 5, 10, 11, 16, 17, 15, 20, 21)
"""Pelvis, knees, toes, shoulders, head and wrists: the ten joints whose distances tell a couple (Siyao et al. 2024)."""
NEAR: Final = 0.4
"""Distance at which a pair of joints counts by 1 / e, metres."""


class DuetLoss(nn.Module):
    """Weighted sum of the terms of `DuetLossWeights`."""

    def __init__(self, weights: DuetLossWeights) -> None:
        super().__init__()
        self.weights = weights

    def forward(
        self, inputs: Mapping[str, Tensor], states: Tensor, posteriors: list[Posterior], target: Tensor, counted: Tensor
    ) -> dict[str, Tensor]:
        """The terms and their `total`.

        Args:
            inputs: of the network.
            states: (B, W, 135) as predicted.
            posteriors: of the latents.
            target: (B, W, 135).
            counted: (B, W), 1 for the frames that count.
        """
        ours, theirs = joints_of(states), joints_of(target)
        both = counted[:, 1:] * counted[:, :-1]
        change = theirs.diff(dim=1)
        usual = _mean(change.square(), both).detach().clamp(min=1e-6)
        leader = inputs["leader"].unflatten(2, (NUM_JOINTS, 3))[:, 1 : states.shape[1] + 1]
        terms = {
            "mse": _mean((ours - theirs).square(), counted) / usual,
            "velocity": _mean((ours.diff(dim=1) - change).square(), both) / usual,
            "kl": divergence(posteriors) if posteriors else ours.new_zeros(()),
            "rotation": _mean((rigid(states) - rigid(target))[..., 3:].square(), counted) * SIX * NUM_JOINTS,
            "distance": _distances(leader, ours, theirs, counted),
            "facing": _mean((facing(ours) - facing(theirs)).square(), counted),
        }
        total = torch.stack([getattr(self.weights, name) * value for name, value in terms.items()]).sum()
        return terms | {"total": total}


def rigid(states: Tensor) -> Tensor:
    """States (..., 135) whose rotations are rotations."""
    columns = from_six(states[..., 3:].unflatten(-1, (NUM_JOINTS, SIX)))[..., :2]
    return torch.cat([states[..., :3], columns.transpose(-1, -2).flatten(-3)], dim=-1)


def _distances(leader: Tensor, ours: Tensor, theirs: Tensor, counted: Tensor) -> Tensor:
    """Squared errors of the distances between the two dancers' `INTERACTING` joints, metres squared, near ones more."""
    of = list(INTERACTING)
    given = leader[:, :, of, None]
    made = (given - ours[:, :, None, of]).square().sum(-1).clamp(min=1e-8).sqrt()
    true = (given - theirs[:, :, None, of]).square().sum(-1).clamp(min=1e-8).sqrt()
    return _mean((made - true).square() * torch.exp(-((true / NEAR) ** 2)), counted)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean over the frames of (B, W, ...) that count, (B, W)."""
    return (values.flatten(2).mean(dim=2) * counted).sum() / counted.sum().clamp(min=1)
