"""Training losses on predicted x0: reconstruction, velocity, bone length and planted feet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from choreo.motion.planted import PLANTED_HEIGHTS, PLANTED_SPEED
from choreo.motion.representation import ROOT_VELOCITY_66, Representation
from choreo.motion.skeleton import BONE_LENGTHS, CONTACT_JOINTS, FPS, PARENTS

TERMS: Final = ("reconstruction", "velocity", "bone", "contact", "contact_channels", "beat", "total")
"""Names of the terms; `total` is their weighted sum."""
BEAT_WIDTH: Final = 0.1
"""Beats around a beat that count as near it."""


class LossWeights(BaseModel):
    """Weights of the terms.

    The first two act on normalised features, relative to the error of a linear denoiser; the others on metres and
    metres per second.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reconstruction: float = 1.0
    velocity: float = 0.5
    bone: float = 50.0
    contact: float = 2.0
    contact_channels: float = 0.3
    """Of the normalised channels with contacts, of representations that have any; the first two leave them out."""
    beat: float = 0.0
    """Of the error of joint velocities near beats, m^2/s^2."""
    root: float = 5.0
    """Weight of a root velocity channel relative to any other: these few channels are all of the travel."""


@dataclass(frozen=True)
class NoiseLevel:
    """How noisy each row of a batch is, all (B,).

    Attributes:
        alphas_cumprod: squared, it scales the terms in metres: at high noise the best prediction is a mean over many
            motions, and asking a mean for planted feet and full bones teaches it to stand still.
        error: squared error of a linear denoiser at this noise (`GaussianModel.expected_errors`). Errors are divided
            by it, so that every noise level contributes.
        velocity_error: the same for differences between frames.
    """

    alphas_cumprod: Tensor
    error: Tensor
    velocity_error: Tensor

    @classmethod
    def none(cls, mask: Tensor) -> "NoiseLevel":
        """Rows without noise, whose errors are not scaled; mask (B, T)."""
        one = torch.ones(len(mask)).to(mask)
        return cls(one, one, one)


class MotionLoss(nn.Module):
    """Weighted sum of masked means, as in EDGE (Tseng et al. 2023, eq. 3-6), for any representation."""

    mean: Tensor
    std: Tensor
    lengths: Tensor
    _channels: Tensor
    _low: Tensor

    def __init__(
        self,
        weights: LossWeights,
        mean: Tensor,
        std: Tensor,
        huber: float | None = None,
        representation: Representation = ROOT_VELOCITY_66,
    ) -> None:
        """A loss for features with these statistics (C,).

        Args:
            weights: of the terms.
            mean: of the features.
            std: of the features.
            huber: width of pseudo-Huber losses (Charbonnier et al. 1997) that replace squares in the first two terms.
            representation: of the features.
        """
        super().__init__()
        self.weights, self._huber, self._representation = weights, huber, representation
        channels = torch.ones(len(mean))
        channels[representation.root_velocity] = weights.root
        if representation.contacts is not None:
            channels[representation.contacts] = 0
        buffers = {
            "mean": mean.float(),
            "std": std.float(),
            "lengths": torch.tensor(BONE_LENGTHS[1:].copy(), dtype=torch.float32),
            "_channels": channels / channels.mean(),
            "_low": torch.tensor(PLANTED_HEIGHTS),
        }
        for name, values in buffers.items():
            self.register_buffer(name, values, persistent=False)

    def forward(
        self,
        predicted: Tensor,
        target: Tensor,
        mask: Tensor,
        noise: NoiseLevel | None = None,
        rhythm: Tensor | None = None,
    ) -> Mapping[str, Tensor]:
        """The terms of `TERMS`.

        Args:
            predicted: (B, T, C), normalised.
            target: (B, T, C), normalised.
            mask: (B, T), 1 for frames that exist.
            noise: at which the prediction was made; None: none.
            rhythm: (B, T, 4 or 8) of `choreo.music.beats.beat_phase_channels`; without it the beat term is 0.
        """
        both = mask[:, 1:] * mask[:, :-1]
        noise = noise or NoiseLevel.none(mask)
        clean = noise.alphas_cumprod**2
        error = self._channels * (predicted - target) ** 2 / noise.error[:, None, None]
        change = self._channels * (predicted - target).diff(dim=1) ** 2 / noise.velocity_error[:, None, None]
        terms = {"reconstruction": _mean(self._robust(error), mask), "velocity": _mean(self._robust(change), both)}
        terms["contact_channels"] = torch.zeros_like(terms["velocity"])
        if self._representation.contacts is not None:
            told = (predicted - target)[..., self._representation.contacts]
            terms["contact_channels"] = _mean(told**2, mask)
        predicted, target = (x * self.std + self.mean for x in (predicted, target))
        ours, theirs = self._joints(predicted), self._joints(target)
        bones = (ours[:, :, 1:] - ours[:, :, list(PARENTS[1:])]).norm(dim=-1)
        terms["bone"] = _mean((bones - self.lengths) ** 2, mask * clean[:, None])
        planted = self._planted(target, theirs) * (both * clean[:, None])[..., None]
        speed = self._foot_velocity(predicted, ours).square().sum(-1)
        terms["contact"] = (speed * planted).sum() / planted.sum().clamp(min=1)
        terms["beat"] = torch.zeros_like(terms["contact"])
        if rhythm is not None and self.weights.beat:
            change = self._velocity(predicted, ours) - self._velocity(target, theirs)
            near = beat_closeness(rhythm)[:, 1:] * both * clean[:, None]
            terms["beat"] = (change.square().sum(-1).mean(-1) * near).sum() / near.sum().clamp(min=1)
        terms["total"] = torch.stack([getattr(self.weights, name) * value for name, value in terms.items()]).sum()
        return terms

    def _robust(self, squared: Tensor) -> Tensor:
        """sqrt(d^2 + c^2) - c of squared errors d^2, where there is a width c."""
        return squared if self._huber is None else (squared + self._huber**2).sqrt() - self._huber

    def _joints(self, features: Tensor) -> Tensor:
        """All joints (B, T, 22, 3), metres: horizontally relative to the root, vertically to the floor."""
        height = self._representation.root_height_of(features)
        root = torch.stack([torch.zeros_like(height), height, torch.zeros_like(height)], dim=-1)[:, :, None]
        return torch.cat([root, self._representation.joints_of(features) + root], dim=2)

    def _planted(self, features: Tensor, joints: Tensor) -> Tensor:
        """(B, T - 1, 4), 1 where a foot is low and stands still."""
        still = self._foot_velocity(features, joints).norm(dim=-1) < PLANTED_SPEED
        return (still & (joints[:, 1:, list(CONTACT_JOINTS), 1] < self._low)).float()

    def _foot_velocity(self, features: Tensor, joints: Tensor) -> Tensor:
        """World velocity (B, T - 1, 4, 3) of the feet, m/s."""
        return self._velocity(features, joints[:, :, list(CONTACT_JOINTS)])

    def _velocity(self, features: Tensor, joints: Tensor) -> Tensor:
        """World velocity (B, T - 1, J, 3) of joints (B, T, J, 3), m/s: the root's plus their own relative to it."""
        root = self._representation.root_velocity_of(features)[:, 1:]
        travel = torch.stack([root[..., 0], torch.zeros_like(root[..., 0]), root[..., 1]], dim=-1)
        return joints.diff(dim=1) * FPS + travel[:, :, None]


def beat_closeness(rhythm: Tensor) -> Tensor:
    """How close frames are to a beat, (B, T) of rhythm channels (B, T, 4 or 8): 1 on it, 0 where none is known.

    A Gaussian of the beat phase with a standard deviation of `BEAT_WIDTH` beats.
    """
    sin, cos = rhythm[..., 0], rhythm[..., 1]
    phase = torch.atan2(sin, cos) / (2 * torch.pi)
    return torch.exp(-0.5 * (phase / BEAT_WIDTH) ** 2) * (torch.hypot(sin, cos) > 0.5)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over real frames of (B, T, C) with mask (B, T)."""
    return (values.mean(dim=2) * mask).sum() / mask.sum().clamp(min=1)
