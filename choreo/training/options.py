"""Options that every training run has: optimisation, bookkeeping, and what is made of the recordings."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from choreo.data.licences import Licences
from choreo.data.windows.known_masks import Masks
from choreo.music.beat_tracking.beats import TrackerName
from choreo.music.beat_tracking.heard import DEFAULT_TRACKER
from choreo.training.best import BETTER


class TrainConfig(BaseModel):
    """Optimisation and bookkeeping. `max_steps` and `warmup_steps` count optimiser steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_steps: int = Field(10_000, ge=1)
    batch_size: int = Field(32, ge=1)
    gradient_accumulation: int = Field(1, ge=1)
    learning_rate: float = Field(4e-4, gt=0)
    adam_betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(0.01, ge=0)
    warmup_steps: int = Field(200, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    seed: int = 0
    log_every: int = Field(20, ge=1)
    validate_every: int = Field(500, ge=1)
    save_every: int = Field(500, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    tracker: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    validation_dances: int = Field(32, ge=0, le=1024)
    """Held-out windows that the averaged weights of a generator dance to at every validation; 0 makes no dances."""
    validation_sampler: Literal["ddim", "ddpm", "dpm++2m", "lcm"] = "ddim"
    """Sampler of these dances."""
    validation_num_steps: int = Field(12, ge=1)
    """Their steps."""
    validation_guidance_scale: float = Field(2.5, ge=0)
    """Their classifier-free guidance; 1 for a distilled generator, which has it within."""
    best_by: str = "fid_k"
    """Value of the validation that chooses the averaged weights of a generator that are kept: a metric of the dances or
    `loss/...`; where no dances are made, metrics give way to `loss/total`."""
    compile: bool = False
    """Whether the network is compiled (torch.compile): slow to start, and worth it for long runs on a GPU."""
    num_workers: int = Field(0, ge=0, le=64)
    """Processes that cut windows; 0 cuts them between steps."""

    @field_validator("adam_betas")
    @classmethod
    def _decays(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"must be from 0 to below 1, got {list(betas)}")
        return betas

    @field_validator("best_by")
    @classmethod
    def _known_value(cls, name: str) -> str:
        if name not in BETTER:
            raise ValueError(f"must be one of {', '.join(BETTER)}, got {name!r}")
        return name


class DataConfig(BaseModel):
    """What is made of the recordings before training: pairs with songs, and synthetic dances in addition."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    licences: Licences = Licences.ALL
    """Which material the run learns from: all of it, or what is cleared for weights that are shipped."""
    most_recordings: int | None = Field(None, ge=1)
    """Recordings that are read of each side; omitted: all."""
    purge: bool = False
    """Whether stretches that the held-out split has as well are cut out of the training split."""
    paired_per_piece: int = Field(0, ge=0, le=8)
    """Songs that every piece of motion is warped onto."""
    synthesized_songs: int = Field(24, ge=0, le=200)
    """Songs made for pairing, in addition to the loops and tracks in the data folder's `audio`."""
    beat_tracker: TrackerName = DEFAULT_TRACKER
    """What hears the beats of songs whose beats are not known."""
    synthetic_dances: int = Field(0, ge=0, le=1000)
    """Dances by the synthetic choreographer: half of them moves, half step dances, such as waltz and rumba."""
    masks: Masks = "starts"
    """What of a window's own motion the network is given. `starts`: starting poses, clips and a few key poses of a
    quarter of the windows. `random`: also frames, spans, joints and trajectories of three quarters, for generators that
    are to be directed. The validation loss is measured with `starts` in both cases, so that runs can be compared."""
