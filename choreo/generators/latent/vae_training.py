"""The first part of a training run: the motion VAE."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from choreo.errors import InvalidArtifact
from choreo.generators.checkpoint import WEIGHTS, save_generator
from choreo.generators.latent.config import LatentConfig, VaeConfig
from choreo.generators.latent.graphs import LatentScale
from choreo.generators.latent.recipe import LatentRecipe
from choreo.generators.latent.vae import MotionVae, Reconstruction
from choreo.motion.representation import representation
from choreo.training.best import best_generator
from choreo.training.ema import Ema
from choreo.training.loop import Task, loader
from choreo.training.losses import MotionLoss
from choreo.training.normalized import Batch, normalized
from choreo.training.resuming import refuse_another_run

ABSOLUTE: Final = 0.02
"""Width of the losses, in normalised units, beyond which errors count by their size (L1) and not by their square."""
MIN_STD: Final = 1e-3
"""Smallest deviation that a channel of the latents is divided by: one that is not used stays small."""


class VaeTask(Task):
    """A VAE that learns to reconstruct windows, from the whole and from given parts of them."""

    shown = ("loss/total", "loss/reconstruction", "loss/velocity", "loss/divergence", "loss/joints_m")

    def __init__(
        self, recipe: LatentRecipe, config: LatentConfig, windows: Dataset, validation: Dataset | None
    ) -> None:
        """A VAE with initial weights.

        Args:
            recipe: of the run.
            config: of the generator, without a scale of its latents.
            windows: all windows of this part, in order.
            validation: held-out windows, whose loss is measured.
        """
        self.recipe, self.config, self.options = recipe, config, recipe.vae_train
        self.name = f"{recipe.name} VAE"
        self.windows, self.validation = windows, validation
        torch.manual_seed(self.options.seed)
        self.network = MotionVae(config.vae)
        self.averaged = self.network
        self.best = best_generator(self.options.best_by, {})

    def begin(self, accelerator: Accelerator, ema: Ema) -> None:
        """Build the loss on the network's device."""
        self._accelerator, spec = accelerator, self.config.spec
        self._mean, self._std = (
            torch.tensor(v, dtype=torch.float32, device=accelerator.device) for v in (spec.mean, spec.std)
        )
        motion = MotionLoss(self.recipe.losses, self._mean, self._std, ABSOLUTE, representation(spec.representation))
        self._motion = motion.to(accelerator.device)

    def seed_of(self, index: int, process: int) -> int:
        """A hash of the seed, the micro-batch and the process."""
        return hash((self.options.seed, index, process)) & 0x7FFFFFFF

    def loss(self, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
        """Terms of the loss of a batch of `Windows`."""
        batch = normalized(batch, self._mean, self._std)
        x0, frames = batch["x0"], batch["frame_mask"]
        mask = frames[..., None].expand_as(x0)
        made: Reconstruction = model(x0, mask, batch["known_mask"])
        terms = dict(self._motion(made.whole.float(), x0, frames, None, batch.get("rhythm")))
        weights = self.recipe.vae_losses
        real = frames.unflatten(1, (self.config.vae.tokens, -1)).amax(dim=2)
        terms["divergence"] = _mean(made.posterior.divergence(), real)
        terms["given"] = _mean((made.given - x0).abs(), batch["known_mask"])
        some = batch["known_mask"].unflatten(1, (self.config.vae.tokens, -1)).flatten(2).amax(dim=2)
        divergence = terms["divergence"] + _mean(made.given_posterior.divergence(), some)
        terms["total"] = terms["total"] + weights.divergence * divergence + weights.given * terms["given"]
        return terms

    def validate(self, weights: dict[str, Tensor]) -> dict[str, float] | None:
        """Terms of the loss on held-out windows, and the mean error of joints, metres, as `loss/joints_m`."""
        if self.validation is None:
            return None
        vae = MotionVae(self.config.vae).to(self._accelerator.device).eval()
        vae.load_state_dict(weights)
        torch.manual_seed(self.options.seed)
        sums: dict[str, float] = {}
        batches = loader(self.validation, self.options, self._accelerator, drop_last=False)
        for batch in batches:
            batch = {k: v.to(self._accelerator.device) for k, v in batch.items()}
            terms = {**self.loss(batch, vae), "joints_m": self._joint_error(batch, vae)}
            for name, value in terms.items():
                sums[f"loss/{name}"] = sums.get(f"loss/{name}", 0.0) + float(value) / len(batches)
        return sums

    def save(self, folder: Path, weights: dict[str, Tensor]) -> None:
        """Write the VAE's weights with the configuration of the generator, whose latents have no scale yet."""
        save_generator(folder, self.config, weights)

    def description(self) -> dict[str, str]:
        """Recipe and configuration as JSON."""
        return {"recipe": self.recipe.model_dump_json(), "config": self.config.model_dump_json()}

    def check(self, state: Mapping[str, Any], path: Path) -> None:
        """Refuse the checkpoint of another VAE, or of one trained on other data."""
        refuse_another_run(state, self.recipe, self.config, path, self.recipe.of_vae)

    def _joint_error(self, batch: Batch, vae: MotionVae) -> Tensor:
        """Mean distance of joints, relative to the root, from where they were, metres."""
        motion, x0 = representation(self.config.spec.representation), batch["x0"]
        mask = batch["frame_mask"][..., None].expand_as(x0)
        made = vae((x0 - self._mean) / self._std * mask, mask, batch["known_mask"]).whole * self._std + self._mean
        return _mean((motion.joints_of(made) - motion.joints_of(x0)).norm(dim=-1), batch["frame_mask"])


def load_vae(folder: Path, config: VaeConfig) -> MotionVae:
    """The VAE that a `VaeTask` has saved, in evaluation mode.

    Raises:
        InvalidArtifact: it is missing, broken, or of other sizes.
    """
    vae = MotionVae(config)
    try:
        vae.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InvalidArtifact(f"{folder} holds no usable VAE, which the denoiser needs: {error}") from error
    return vae.eval()


@torch.no_grad()
def measured_scale(vae: MotionVae, windows: NDArray[np.float32]) -> LatentScale:
    """Mean and deviation of the mean latents of whole normalised windows (N, T, C), by channel."""
    latents = []
    for first in range(0, len(windows), 64):
        features = torch.from_numpy(windows[first : first + 64])
        latents.append(vae.encoder(features, torch.ones_like(features))[0].double())
    every = torch.cat(latents).flatten(0, 1)
    mean, std = every.mean(dim=0), every.std(dim=0).clamp(min=MIN_STD)
    return LatentScale(
        latent_mean=tuple(np.round(mean.numpy(), 6).tolist()), latent_std=tuple(np.round(std.numpy(), 6).tolist())
    )


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (B, T) or (B, T, X), weighted by a mask of the same shape or (B, T)."""
    if values.dim() > mask.dim():
        values = values.mean(dim=2)
    return (values * mask).sum() / mask.sum().clamp(min=1)
