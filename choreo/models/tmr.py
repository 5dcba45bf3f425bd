"""TMR (Petrovich et al. 2023): motions and sentences as Gaussians in one latent space, for retrieval and evaluation.

Each encoder is a small transformer in the style of ACTOR (Petrovich et al. 2021): two learned tokens are read out as
mean and log-variance. Motion enters with several frames to a token, a sentence as one token, its sentence embedding.
"""

import json
from pathlib import Path
from typing import Final

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from choreo.errors import InvalidArtifact
from choreo.files import atomic_write
from choreo.models.layers import Attention, sinusoid
from choreo.motion.representation import ROOT_VELOCITY_66, representation
from choreo.motion.skeleton import FPS, WINDOW

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"


class TextMotionConfig(BaseModel):
    """Architecture of the two encoders, and of the decoder, which only training uses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dim: int = Field(192, ge=8, le=1024, multiple_of=2)
    num_heads: int = Field(4, ge=1)
    feedforward: int = Field(512, ge=8)
    motion_layers: int = Field(4, ge=1)
    text_layers: int = Field(2, ge=1)
    decoder_layers: int = Field(2, ge=1)
    latent_dim: int = Field(256, ge=2)
    patch: int = Field(4, ge=1)
    """Frames per token."""
    dropout: float = Field(0.1, ge=0, lt=1)
    window: int = Field(WINDOW, ge=1)
    text_encoder: str = "minilm"
    text_dim: int = Field(384, ge=1)

    @model_validator(mode="after")
    def _divides(self) -> "TextMotionConfig":
        if self.dim % self.num_heads or self.window % self.patch:
            raise ValueError("num_heads must divide dim, and patch the window")
        return self


class TextMotionSpec(BaseModel):
    """Content of `config.json`: the architecture, and representation and statistics of the training motion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    network: TextMotionConfig
    fps: int = FPS
    representation: str = ROOT_VELOCITY_66.name
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @model_validator(mode="after")
    def _statistics_fit(self) -> "TextMotionSpec":
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"mean and std must have {self.channels} entries")
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        return self

    @property
    def channels(self) -> int:
        """Features per frame, C."""
        return representation(self.representation).channels


class Block(nn.Module):
    """Pre-norm transformer block; positions are added to queries and keys only."""

    def __init__(self, config: TextMotionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim)
        self.attention = Attention(config.dim, config.num_heads)
        self.norm2 = nn.LayerNorm(config.dim)
        self.mlp = nn.Sequential(
            nn.Linear(config.dim, config.feedforward),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.feedforward, config.dim),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor, position: Tensor) -> Tensor:
        """x (B, N, D), mask (B, N) of tokens that exist, position (N, D) -> (B, N, D)."""
        h = self.norm1(x)
        x = x + self.dropout(self.attention(h, h, mask, position, position))
        return x + self.dropout(self.mlp(self.norm2(x)))


class GaussianEncoder(nn.Module):
    """Tokens to the mean and the log-variance of a latent Gaussian, read from two learned tokens."""

    def __init__(self, input_dim: int, layers: int, config: TextMotionConfig) -> None:
        super().__init__()
        self.embed = nn.Linear(input_dim, config.dim)
        self.readout = nn.Parameter(torch.randn(2, config.dim) * 0.02)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(layers))
        self.norm = nn.LayerNorm(config.dim)
        self.mean = nn.Linear(config.dim, config.latent_dim)
        self.log_variance = nn.Linear(config.dim, config.latent_dim)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """tokens (B, N, I), mask (B, N) -> mean and log-variance, both (B, L)."""
        x = torch.cat([self.readout.expand(len(tokens), -1, -1), self.embed(tokens)], dim=1)
        mask = torch.cat([torch.ones_like(mask[:, :1]).expand(-1, 2), mask], dim=1)
        steps = sinusoid(torch.arange(tokens.shape[1], device=x.device), x.shape[2])
        position = torch.cat([torch.zeros_like(self.readout), steps])
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, mask, position)
        x = self.norm(x[:, :2])
        return self.mean(x[:, 0]), self.log_variance(x[:, 1]).clamp(-10, 10)


class TextMotionModel(nn.Module):
    """The motion encoder and the text encoder."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: TextMotionSpec) -> None:
        super().__init__()
        self.spec = spec
        config = spec.network
        self.motion = GaussianEncoder(config.patch * spec.channels, config.motion_layers, config)
        self.text = GaussianEncoder(config.text_dim, config.text_layers, config)
        self.register_buffer("mean", torch.tensor(spec.mean), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std), persistent=False)

    def normalize(self, features: Tensor, mask: Tensor) -> Tensor:
        """Normalised features (B, T, C); zero where the mask (B, T) is."""
        return torch.where(mask[..., None] > 0, (features - self.mean) / self.std, 0.0)

    def encode_motion(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, window, C), not normalised, with frame mask (B, window) -> mean and log-variance (B, L)."""
        patch = self.spec.network.patch
        tokens = self.normalize(features, mask).unflatten(1, (-1, patch)).flatten(2)
        return self.motion(tokens, mask.unflatten(1, (-1, patch)).amax(dim=2))

    def encode_text(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Sentence embeddings (B, E) -> mean and log-variance (B, L)."""
        return self.text(embeddings[:, None], torch.ones_like(embeddings[:, :1]))


class MotionDecoder(nn.Module):
    """Latents to normalised features, for training only: one query per patch, to each of which the latent is added."""

    def __init__(self, spec: TextMotionSpec) -> None:
        super().__init__()
        self.config, self.channels = spec.network, spec.channels
        config = spec.network
        self.latent = nn.Linear(config.latent_dim, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.decoder_layers))
        self.output = nn.Sequential(nn.LayerNorm(config.dim), nn.Linear(config.dim, config.patch * spec.channels))

    def forward(self, z: Tensor, mask: Tensor) -> Tensor:
        """z (B, L), frame mask (B, window) -> normalised features (B, window, C)."""
        config = self.config
        position = sinusoid(torch.arange(config.window // config.patch, device=z.device), config.dim)
        x = self.latent(z)[:, None] + position
        tokens = mask.unflatten(1, (-1, config.patch)).amax(dim=2)
        for block in self.blocks:
            x = block(x, tokens, position)
        return self.output(x).unflatten(2, (config.patch, self.channels)).flatten(1, 2)


def save_text_motion(folder: Path, spec: TextMotionSpec, state: dict[str, Tensor]) -> None:
    """Write a checkpoint folder in half precision; each file appears whole or not at all.

    Raises:
        OSError: the disk is full, or the folder may not be written; the files in it are as they were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / WEIGHTS, save({k: v.detach().half().contiguous().cpu() for k, v in state.items()}))
    atomic_write(folder / CONFIG, (json.dumps(spec.model_dump(mode="json"), indent=1) + "\n").encode())


def load_text_motion(folder: Path) -> TextMotionModel:
    """Read a checkpoint folder into a model in evaluation mode, float32.

    Raises:
        InvalidArtifact: a file is missing, broken, holds NaN, or does not match the architecture.
    """
    try:
        spec = TextMotionSpec.model_validate_json((folder / CONFIG).read_text())
        state = {k: v.float() for k, v in load_file(folder / WEIGHTS).items()}
        model = TextMotionModel(spec)
        model.load_state_dict(state)
    except (OSError, ValidationError, RuntimeError, ValueError, SafetensorError) as error:
        raise InvalidArtifact(f"{folder} is not a usable text-motion checkpoint: {error}") from error
    if not all(bool(torch.isfinite(v).all()) for v in state.values()):
        raise InvalidArtifact(f"{folder / WEIGHTS} holds NaN or infinite weights")
    return model.eval()
