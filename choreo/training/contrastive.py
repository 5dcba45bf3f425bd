"""Losses of TMR (Petrovich et al. 2023): reconstruction, KL, latent distance, and filtered InfoNCE."""

from collections.abc import Mapping

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F


class ContrastiveWeights(BaseModel):
    """Weights of the terms, temperature, and the threshold for false negatives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reconstruction: float = 1.0
    kl: float = 1e-5
    latent: float = 1e-5
    contrastive: float = 0.1
    temperature: float = Field(0.1, gt=0)
    similarity: float = Field(0.8, ge=-1, le=1)
    """Cosine of two captions' embeddings above which neither is a negative for the other's motion."""


def info_nce(motions: Tensor, texts: Tensor, true: Tensor, temperature: float) -> Tensor:
    """Symmetric InfoNCE of paired latents (B, L) under cosine similarity.

    Args:
        motions: (B, L).
        texts: (B, L).
        true: bool (B, B), whether text j is true of motion i; off the diagonal these are false negatives and left out.
        temperature: divides the similarities.
    """
    logits = F.normalize(motions, dim=1) @ F.normalize(texts, dim=1).T / temperature
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(true & ~own, -torch.inf)
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def true_of(batch: Mapping[str, Tensor]) -> Tensor:
    """Whether sentence j is true of motion i, bool (B, B), in a batch of `CaptionedWindows`.

    It is if its caption is similar to one of the motion's own (the filter of TMR) and every attribute that it states
    holds for the motion.
    """
    captions = batch["true_captions"][:, batch["caption"][:, 0].long()] > 0
    untrue = (1 - batch["true_attributes"]) @ batch["stated"].T
    return captions & (untrue < 0.5)


def kl_divergence(p: tuple[Tensor, Tensor], q: tuple[Tensor, Tensor]) -> Tensor:
    """Mean KL(p || q) of diagonal Gaussians given as (mean, log-variance), each (B, L)."""
    ratio = (p[1] - q[1]).exp()
    return 0.5 * (ratio + (p[0] - q[0]) ** 2 / q[1].exp() - 1 - (p[1] - q[1])).mean()


def regularization(motion: tuple[Tensor, Tensor], text: tuple[Tensor, Tensor]) -> Tensor:
    """KL of the two posteriors to each other, both ways, and of each to the unit Gaussian (TEMOS), summed."""
    unit = (torch.zeros_like(motion[0]), torch.zeros_like(motion[1]))
    pairs = ((text, motion), (motion, text), (motion, unit), (text, unit))
    return torch.stack([kl_divergence(p, q) for p, q in pairs]).sum()


def masked_smooth_l1(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Smooth L1 of (B, T, C), mean over the frames of mask (B, T)."""
    return (F.smooth_l1_loss(predicted, target, reduction="none").mean(dim=2) * mask).sum() / mask.sum().clamp(min=1)
