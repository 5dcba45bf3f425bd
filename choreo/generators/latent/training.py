"""From a recipe and clips to the two parts of a training run: the VAE, and the denoiser of its latents."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from choreo.data.clip import Clip
from choreo.data.windows.windows import feature_statistics
from choreo.diffusion.parameters import DiffusionParameters
from choreo.generators.base import Stage
from choreo.generators.latent.config import LatentConfig
from choreo.generators.latent.graphs import LatentScale, latent_spec
from choreo.generators.latent.model import LatentNetwork
from choreo.generators.latent.recipe import LatentRecipe
from choreo.generators.latent.vae import MotionVae
from choreo.generators.latent.vae_training import VaeTask, load_vae, measured_scale
from choreo.training.ema import Ema
from choreo.training.generator import GeneratorTask, whole_windows
from choreo.training.held_out_dances import HeldOutDances
from choreo.training.loop import MODEL
from choreo.training.losses import MotionLoss
from choreo.training.noising import Noising
from choreo.training.normalized import Batch
from choreo.training.objectives import Objective
from choreo.training.windowed import TrainingData, cut_windows

VAE: Final = "vae"
"""Folder of the VAE's part in that of the run."""
LEAST_ERROR: Final = 0.01
"""Squared error, of scaled latents, below which less noise does not make errors count more."""


def latent_stages(recipe: LatentRecipe, data: TrainingData) -> list[Stage]:
    """The VAE, then the denoiser."""
    return [
        Stage(VAE, recipe.vae_train.max_steps, lambda folder: vae_task(recipe, data)),
        Stage("", recipe.train.max_steps, lambda folder: latent_task(recipe, data, folder / VAE / MODEL)),
    ]


def vae_task(recipe: LatentRecipe, data: TrainingData) -> VaeTask:
    """The training of the VAE."""
    config = generator_config(recipe, data.training)
    options = recipe.vae_train.model_copy(update={"validation_dances": 0})
    cut = cut_windows(recipe.model_copy(update={"train": options}), config.spec, data)
    return VaeTask(recipe, config, cut.training, cut.validation)


def latent_task(recipe: LatentRecipe, data: TrainingData, trained: Path) -> "LatentTask":
    """The training of the denoiser, with the VAE in a folder.

    Raises:
        InvalidArtifact: there is no usable VAE.
        InvalidInput: the recipe's validation does not fit the generator or the data.
    """
    unscaled = generator_config(recipe, data.training)
    cut = cut_windows(recipe, unscaled.spec, data)
    vae = load_vae(trained, recipe.vae)
    scale = measured_scale(vae, whole_windows(cut.training, unscaled.spec))
    config = generator_config(recipe, data.training, scale)
    dances = None if cut.dances is None else replace(cut.dances, spec=config.spec)
    return LatentTask(recipe, config, vae, cut.training, cut.validation, dances)


def generator_config(recipe: LatentRecipe, clips: Sequence[Clip], scale: LatentScale | None = None) -> LatentConfig:
    """Sizes from the recipe, statistics from the training clips, and the scale of the latents."""
    mean, std = feature_statistics(clips)
    music = [c.music for c in clips if c.music is not None]
    heard = np.concatenate(music) if music else np.zeros((1, recipe.music_dim))
    spec = latent_spec(
        recipe.name,
        window=recipe.vae.window,
        tokens=recipe.vae.tokens,
        channels=recipe.vae.channels,
        overlap=recipe.vae.overlap,
        scale=scale,
        music_encoder=recipe.music_encoder,
        music_dim=recipe.music_dim,
        text_encoder=recipe.text_encoder,
        text_dim=recipe.text_dim,
        rhythm_channels=recipe.rhythm_channels,
        parameters=DiffusionParameters(
            prediction=recipe.prediction, schedule=recipe.schedule, num_train_timesteps=recipe.num_train_timesteps
        ),
        representation=recipe.representation,
        mean=np.round(mean, 6).tolist(),
        std=np.round(std, 6).tolist(),
    )
    return LatentConfig(
        vae=recipe.vae,
        denoiser=recipe.denoiser,
        spec=spec,
        music_mean=tuple(np.round(heard.mean(0), 6).tolist()),
        music_std=tuple(np.round(np.maximum(heard.std(0), 0.05), 6).tolist()),
    )


class LatentTask(GeneratorTask):
    """A denoiser that learns the latents of a VAE, which stays as it is."""

    def __init__(
        self,
        recipe: LatentRecipe,
        config: LatentConfig,
        vae: MotionVae,
        windows: Dataset,
        validation: Dataset | None,
        dances: HeldOutDances | None = None,
    ) -> None:
        """A denoiser with initial weights.

        Args:
            recipe: of the run.
            config: of the generator, with the scale of the latents.
            vae: trained.
            windows: all windows of this part, in order.
            validation: held-out windows, whose loss is measured.
            dances: held-out windows that are danced to.

        Raises:
            InvalidInput: the dances do not have the value that the recipe selects weights by.
        """
        self._vae = vae
        super().__init__(recipe, config, windows, validation, dances)

    def _initialise(self) -> None:
        """Take the VAE as it is."""
        assert isinstance(self.network, LatentNetwork)
        self.network.encoder.network.load_state_dict(self._vae.encoder.state_dict())
        self.network.decoder.network.load_state_dict(self._vae.decoder.state_dict())
        self.network.freeze_vae()

    def _make_objective(self, noising: Noising, loss: MotionLoss, ema: Ema) -> Objective:
        """Denoising of latents; the loss of the motion was the VAE's."""
        assert isinstance(self.network, LatentNetwork)
        return LatentDenoising(noising, self.network.encoder, self.network.config.vae.tokens)


class LatentDenoising:
    """Predict the latents of windows under noise of any timestep."""

    def __init__(self, noising: Noising, encoder: nn.Module, tokens: int) -> None:
        self._noising, self._encoder, self._tokens = noising, encoder, tokens

    def __call__(self, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
        """The loss of denoising on a batch; arguments and result as in `Objective`.

        Tokens count as far as they are not given. The error is divided by that of the best linear denoiser, so that
        every noise level contributes.
        """
        noising, frames = self._noising, batch["frame_mask"]
        z0, given, given_mask = self._encoded(batch)
        t = torch.randint(noising.num_train_timesteps, (len(z0),), device=z0.device)
        x_t = noising.noised(z0, t)
        inputs = by_token(batch, self._tokens) | {"given": given, "given_mask": given_mask}
        output = model(inputs | {"x": x_t, "t": t[:, None].float()}).float()
        error = ((noising.x0(output, x_t, t) - z0) ** 2).mean(dim=2)
        counts = frames.unflatten(1, (self._tokens, -1)).mean(dim=2) * (1 - given_mask[..., 0])
        expected = noising.level(t).error.clamp(min=LEAST_ERROR)[:, None]
        loss = (error / expected * counts).sum() / counts.sum().clamp(min=1)
        return {"reconstruction": loss, "total": loss}

    @torch.no_grad()
    def _encoded(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled latents of the motion, those of what is given, and the share of each token that is given."""
        x0 = batch["x0"]
        z0, _ = self._encoder(x0, batch["frame_mask"][..., None].expand_as(x0))
        return z0, *self._encoder(batch["known"], batch["known_mask"])


def by_token(batch: Batch, tokens: int) -> Batch:
    """The denoiser's conditions of a batch of normalised windows, in the shapes of `latent_spec`."""
    heard = batch["music_mask"] * batch["has_music"]
    along = {
        "music": batch["music"], "music_mask": heard, "rhythm": batch["rhythm"], "prior": batch["prior"][..., :-1],
        "prior_mask": batch["prior"][..., -1],
    }  # fmt: skip
    conditions = {name: values.unflatten(1, (tokens, -1)) for name, values in along.items()}
    return conditions | {"text": batch["text"], "has_text": batch["has_text"]}
