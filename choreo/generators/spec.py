"""What a client must know of a model: its shapes, what it predicts, and how its output becomes motion.

A `ModelSpec` travels with the checkpoint, with the exported graphs and in the parameters of the Triton model
configuration, so no client hard-codes a number.
"""

from enum import StrEnum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"
"""What names of models look like."""


class Prediction(StrEnum):
    """What the network's output means."""

    X0 = "x0"
    EPS = "eps"


class ScheduleName(StrEnum):
    """Noise schedules by name."""

    COSINE = "cosine"
    LINEAR = "linear"
    SCALED_LINEAR = "scaled_linear"


class ModelSpec(BaseModel):
    """Wire contract of one generator: a `conditioner` and a `denoiser` graph.

    With T = window, C = channels, L = context_tokens, D = context_dim, R = rhythm_channels (batch axis left out):

    conditioner: `music` [T, music_dim], `music_mask` [T], `text` [text_dim], `has_music` [1], `has_text` [1]
    -> `context` [L, D], `context_mask` [L].

    denoiser: `x` [T, C], `t` [1], `context` [L, D], `context_mask` [L], `prior` [T, C + 1] (last channel its mask),
    `known` [T, C], `known_mask` [T, C], `rhythm` [T, R], `frame_mask` [T] -> `x0` or `eps` [T, C].

    Everything is float32 on the wire; masks are 0 or 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME)
    window: int = 196
    channels: int = 66
    fps: int = 30
    context_tokens: int = 50
    context_dim: int
    music_encoder: str = "dsp35"
    music_dim: int = 35
    text_encoder: str = "minilm"
    text_dim: int = 384
    rhythm_channels: int = 4
    prediction: Prediction = Prediction.X0
    schedule: ScheduleName = ScheduleName.COSINE
    num_train_timesteps: int = 1000
    representation: Literal["root-velocity-66"] = "root-velocity-66"
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @model_validator(mode="after")
    def _statistics_fit(self) -> "ModelSpec":
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"mean and std must have {self.channels} entries")
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        return self

    def conditioner_inputs(self) -> dict[str, tuple[int, ...]]:
        """Input shapes of the conditioner graph without the batch axis, in order."""
        return {
            "music": (self.window, self.music_dim),
            "music_mask": (self.window,),
            "text": (self.text_dim,),
            "has_music": (1,),
            "has_text": (1,),
        }

    def conditioner_outputs(self) -> dict[str, tuple[int, ...]]:
        """Output shapes of the conditioner graph."""
        return {"context": (self.context_tokens, self.context_dim), "context_mask": (self.context_tokens,)}

    def denoiser_inputs(self) -> dict[str, tuple[int, ...]]:
        """Input shapes of the denoiser graph."""
        t, c = self.window, self.channels
        return {
            "x": (t, c),
            "t": (1,),
            **self.conditioner_outputs(),
            "prior": (t, c + 1),
            "known": (t, c),
            "known_mask": (t, c),
            "rhythm": (t, self.rhythm_channels),
            "frame_mask": (t,),
        }

    def denoiser_outputs(self) -> dict[str, tuple[int, ...]]:
        """Output shapes of the denoiser graph."""
        return {self.prediction.value: (self.window, self.channels)}

    def normalize(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Motion features (..., C) to the network's units."""
        return ((features - np.array(self.mean)) / np.array(self.std)).astype(np.float32)

    def denormalize(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Inverse of `normalize`, in float64."""
        return np.asarray(x, np.float64) * np.array(self.std) + np.array(self.mean)
