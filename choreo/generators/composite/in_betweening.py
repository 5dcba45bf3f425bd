"""The third part of a training run: the U-Net learns to dance between key poses that are not quite right."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from choreo.generators.composite.recipe import SpoiltKeyPoses
from choreo.models.motion_tokenizer import MotionTokenizer
from choreo.motion.representation import Representation
from choreo.training.normalized import Batch
from choreo.training.objectives import Denoising


class KeyPoseDenoising:
    """Denoising of windows whose given poses are reconstructed by the tokeniser, noisy, or right.

    A language model's key poses are the tokeniser's, and off as its reconstructions are; a U-Net that has seen right
    ones only takes every error for motion. The motion that is learned stays the right one.
    """

    def __init__(
        self, denoising: Denoising, tokenizer: MotionTokenizer, spoilt: SpoiltKeyPoses, motion: Representation
    ) -> None:
        self._denoising, self._tokenizer, self._spoilt = denoising, tokenizer, spoilt
        lone = torch.ones(motion.channels)
        lone[motion.unknown_in_a_lone_pose] = 0
        self._pose = lone

    def __call__(self, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
        """The loss of denoising on a batch; arguments and result as in `Objective`."""
        return self._denoising(self.spoil(batch), model)

    @torch.no_grad()
    def spoil(self, batch: Batch) -> Batch:
        """A normalised batch with key poses as they are planned, some of them off."""
        spoilt, x0, frames = self._spoilt, batch["x0"], batch["frame_mask"]
        count, device = len(x0), x0.device
        planned = (torch.rand(count, 1, 1, device=device) < spoilt.planned).float()
        mask = planned * self._planned(frames) + (1 - planned) * batch["known_mask"]
        mask = mask * frames[..., None]
        kind = torch.rand(count, 1, 1, device=device)
        width = torch.rand(count, 1, 1, device=device) * spoilt.noise
        noisy = x0 + width * torch.randn_like(x0)
        made = self._tokenizer(x0, frames).features
        known = torch.where(kind < spoilt.reconstructed, made, x0)
        off = (kind >= spoilt.reconstructed) & (kind < spoilt.reconstructed + spoilt.noisy)
        return batch | {"known": torch.where(off, noisy, known) * mask, "known_mask": mask}

    def _planned(self, frames: Tensor) -> Tensor:
        """Masks (B, T, C) of lone poses, each row with a distance and a beginning of its own; frames (B, T)."""
        low, high = self._spoilt.apart
        count, device = len(frames), frames.device
        apart = torch.randint(low, high + 1, (count, 1), device=device)
        first = (torch.rand(count, 1, device=device) * apart).long()
        there = (torch.arange(frames.shape[1], device=device)[None] - first) % apart == 0
        return there.float()[..., None] * self._pose.to(device)
