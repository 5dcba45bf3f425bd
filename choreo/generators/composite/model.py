"""Tokeniser, language model and U-Net as one network."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from choreo.errors import InvalidArtifact
from choreo.generators.composite.config import CompositeConfig
from choreo.generators.composite.gpt import GptStep, MotionGpt
from choreo.generators.composite.graphs import DECODER, GPT
from choreo.generators.unet.model import UNetModel
from choreo.models.motion_tokenizer import MotionTokenizer, fingerprint
from choreo.models.tokenizer_config import TOKEN_FRAMES

PARTS = ("tokenizer", "gpt", "conditioner", "denoiser")


class CompositeNetwork(UNetModel):
    """All weights of one composite generator. Where it is trained as a whole, it is the U-Net that learns."""

    config: CompositeConfig

    def __init__(self, config: CompositeConfig) -> None:
        super().__init__(config)
        self.tokenizer = MotionTokenizer(config.tokenizer)
        self.gpt = make_gpt(config)

    def graphs(self) -> Mapping[str, nn.Module]:
        """Those of the U-Net, the step of the language model, and the tokeniser's decoder."""
        return {**super().graphs(), GPT: GptStep(self.gpt), DECODER: Decode(self.tokenizer)}

    def freeze_plan(self) -> None:
        """Leave tokeniser and language model out of the training."""
        for part in (self.tokenizer, self.gpt):
            part.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "CompositeNetwork":
        """As in torch, but for what is frozen: a codebook would follow what it sees."""
        super().train(mode)
        self.tokenizer.eval()
        self.gpt.eval()
        return self

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in torch.

        Raises:
            InvalidArtifact: a part has no weights, or the tokeniser is not the one whose tokens the language model
                speaks.
        """
        for part in PARTS:
            if not any(name.startswith(f"{part}.") for name in state_dict):
                raise InvalidArtifact(
                    f"{self.spec.name} has no weights of its {part}; take the checkpoint from `model/` of a finished "
                    "training run"
                )
        loaded = super().load_state_dict(state_dict, strict, assign)
        check_codebook(self.spec.name, self.tokenizer, self.config.codebook)
        return loaded


class Decode(nn.Module):
    """The tokeniser's way back, with the inputs of its graph."""

    def __init__(self, tokenizer: MotionTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, tokens: Tensor, token_mask: Tensor) -> Tensor:
        """(B, S) tokens and mask -> features (B, 4 S, C)."""
        return self.tokenizer.decode(tokens.long(), token_mask)


def make_gpt(config: CompositeConfig) -> MotionGpt:
    """A language model of the configured sizes, with new weights."""
    return MotionGpt(
        config.gpt,
        config.tokenizer.codes,
        config.spec.text_dim,
        config.denoiser.rhythm_channels,
        TOKEN_FRAMES,
        config.music_mean,
        config.music_std,
    )


def check_codebook(name: str, tokenizer: MotionTokenizer, codebook: str) -> None:
    """Check that tokens mean what the language model has learned.

    Raises:
        InvalidArtifact: its tokeniser is another one.
    """
    found = fingerprint(tokenizer)
    if found != codebook:
        raise InvalidArtifact(
            f"{name}: its language model speaks tokens of the codebook {codebook[:12] or 'of no tokeniser'}, but the "
            f"tokeniser there has the codebook {found[:12]}; take both from one training run"
        )
