"""Training losses on predicted x0: reconstruction, velocity, bone length and planted feet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from choreo.motion.representation import ROOT_VELOCITY
from choreo.motion.skeleton import ANKLE_HEIGHT, BONE_LENGTHS, CONTACT_JOINTS, FPS, PARENTS, TOE_HEIGHT

TERMS: Final = ("reconstruction", "velocity", "bone", "contact", "total")
"""Names of the terms; `total` is their weighted sum."""


class LossWeights(BaseModel):
    """Weights of the terms; the first two act on normalised features, relative to what a linear denoiser errs by, the
    others on metres and metres per second."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reconstruction: float = 1.0
    velocity: float = 0.5
    bone: float = 50.0
    contact: float = 2.0
    root: float = 5.0
    """How much more the two root velocity channels count than any other: they are 2 of 66, and all of the travel."""


@dataclass(frozen=True)
class NoiseLevel:
    """How noisy each row of a batch is, all (B,).

    Attributes:
        alphas_cumprod: squared, it scales the terms in metres: at high noise the best prediction is a mean over many
            motions, and asking a mean for planted feet and full bones teaches it to stand still.
        error: squared error that a linear denoiser has at this noise (`GaussianModel.expected_errors`); errors count
            in units of it, so that every noise level has its say.
        velocity_error: likewise for differences from frame to frame.
    """

    alphas_cumprod: Tensor
    error: Tensor
    velocity_error: Tensor

    @classmethod
    def none(cls, mask: Tensor) -> "NoiseLevel":
        """Of rows without noise, whose errors count as they are; mask (B, T)."""
        one = torch.ones(len(mask)).to(mask)
        return cls(one, one, one)


class MotionLoss(nn.Module):
    """Weighted sum of masked means, as in EDGE (Tseng et al. 2023 eq. 3-6) on this project's representation."""

    mean: Tensor
    std: Tensor
    lengths: Tensor
    _channels: Tensor

    def __init__(self, weights: LossWeights, mean: Tensor, std: Tensor, huber: float | None = None) -> None:
        """With `huber` the first two terms are pseudo-Huber losses (Charbonnier et al. 1997) of that width."""
        super().__init__()
        self.weights, self._huber = weights, huber
        self.register_buffer("mean", mean.float(), persistent=False)
        self.register_buffer("std", std.float(), persistent=False)
        lengths = torch.tensor(BONE_LENGTHS[1:].copy(), dtype=torch.float32)
        self.register_buffer("lengths", lengths, persistent=False)
        channels = torch.ones(len(mean))
        channels[ROOT_VELOCITY] = weights.root
        self.register_buffer("_channels", channels / channels.mean(), persistent=False)

    def forward(
        self, predicted: Tensor, target: Tensor, mask: Tensor, noise: NoiseLevel | None = None
    ) -> Mapping[str, Tensor]:
        """predicted and target (B, T, C) normalised, mask (B, T) -> each term and their weighted `total`."""
        both = mask[:, 1:] * mask[:, :-1]
        noise = noise or NoiseLevel.none(mask)
        clean = noise.alphas_cumprod**2
        error = self._channels * (predicted - target) ** 2 / noise.error[:, None, None]
        change = self._channels * (predicted - target).diff(dim=1) ** 2 / noise.velocity_error[:, None, None]
        terms = {"reconstruction": _mean(self._robust(error), mask), "velocity": _mean(self._robust(change), both)}
        ours, theirs = self._joints(predicted), self._joints(target)
        bones = (ours[:, :, 1:] - ours[:, :, list(PARENTS[1:])]).norm(dim=-1)
        terms["bone"] = _mean((bones - self.lengths) ** 2, mask * clean[:, None])
        terms["contact"] = self._contact(predicted, target, ours, theirs, both * clean[:, None])
        terms["total"] = torch.stack([getattr(self.weights, name) * value for name, value in terms.items()]).sum()
        return terms

    def _robust(self, squared: Tensor) -> Tensor:
        """sqrt(d^2 + c^2) - c of squared errors, where there is a width c."""
        return squared if self._huber is None else (squared + self._huber**2).sqrt() - self._huber

    def _joints(self, x: Tensor) -> Tensor:
        """Root-relative joints (B, T, 22, 3), metres, with the root's height added."""
        f = x * self.std + self.mean
        height = torch.zeros(*f.shape[:2], 1, 3, device=f.device, dtype=f.dtype)
        height[..., 0, 1] = f[..., 2]
        return torch.cat([height, f[..., 3:].unflatten(2, (21, 3)) + height], dim=2)

    def _contact(self, predicted: Tensor, target: Tensor, ours: Tensor, theirs: Tensor, mask: Tensor) -> Tensor:
        """Squared world speed of feet that stand still in the target."""
        feet = list(CONTACT_JOINTS)
        planted_speed = self._world_velocity(target, theirs[:, :, feet]).norm(dim=-1)
        low = theirs[:, 1:, feet, 1] < torch.tensor([ANKLE_HEIGHT + 0.04] * 2 + [TOE_HEIGHT + 0.04] * 2).to(theirs)
        planted = ((planted_speed < 0.2) & low).float() * mask[..., None]
        speed = self._world_velocity(predicted, ours[:, :, feet])
        return ((speed**2).sum(-1) * planted).sum() / planted.sum().clamp(min=1)

    def _world_velocity(self, x: Tensor, joints: Tensor) -> Tensor:
        """(B, T-1, J, 3) m/s: root velocity plus the joint's own."""
        root = (x * self.std + self.mean)[:, 1:, :2]
        velocity = joints.diff(dim=1) * FPS
        travel = torch.stack([root[..., 0], torch.zeros_like(root[..., 0]), root[..., 1]], dim=-1)
        return velocity + travel[:, :, None]


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over real frames of (B, T, C) with mask (B, T)."""
    return (values.mean(dim=2) * mask).sum() / mask.sum().clamp(min=1)
