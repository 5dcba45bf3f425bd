"""Sizes of the conditioner, for programs that need no torch."""

from pydantic import BaseModel, ConfigDict


class ConditionerConfig(BaseModel):
    """Sizes of the conditioner. The defaults are `dsp35+minilm`; 4800 and 768 make the documents' `jukebox+clip`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: int = 196
    frames_per_token: int = 4
    music_dim: int = 35
    text_dim: int = 384
    context_dim: int = 128
    num_layers: int = 1
    num_heads: int = 4

    @property
    def context_tokens(self) -> int:
        """One token per `frames_per_token` frames, and one for the text."""
        return self.window // self.frames_per_token + 1
