"""The second part of a training run: the language model of the tokens."""

from collections.abc import Mapping
from typing import Final

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from choreo.generators.composite.config import CompositeConfig
from choreo.generators.composite.gpt import Heard, MotionGpt
from choreo.generators.composite.model import make_gpt
from choreo.generators.composite.parts import PartTask
from choreo.generators.composite.recipe import CompositeRecipe
from choreo.models.motion_tokenizer import MotionTokenizer, token_mask
from choreo.models.tokenizer_config import TOKEN_FRAMES
from choreo.training.ema import Ema
from choreo.training.normalized import Batch
from choreo.training.options import TrainConfig

IGNORED: Final = -100
"""Target of places that no token is asked for at."""


class GptTask(PartTask):
    """A language model that learns the tokens of a tokeniser, which stays as it is."""

    part = "language model"
    depends_on = CompositeRecipe.of_gpt
    shown = ("loss/total", "loss/accuracy")

    def __init__(
        self,
        recipe: CompositeRecipe,
        config: CompositeConfig,
        tokenizer: MotionTokenizer,
        options: TrainConfig,
        windows: Dataset,
        validation: Dataset | None,
    ) -> None:
        """A language model with initial weights; arguments as in `PartTask`, and the trained tokeniser."""
        self.tokenizer = tokenizer
        super().__init__(recipe, config, options, windows, validation)

    def make(self) -> MotionGpt:
        """A language model with new weights."""
        return make_gpt(self.config)

    def begin(self, accelerator: Accelerator, ema: Ema) -> None:
        """Move the tokeniser to the network's device."""
        super().begin(accelerator, ema)
        self.tokenizer.to(accelerator.device)

    def terms(self, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
        """Cross-entropy of the tokens and of the end, and the share of the tokens that are guessed."""
        codes = self.config.tokenizer.codes
        with torch.no_grad():
            tokens = self.tokenizer.encode(batch["x0"], batch["frame_mask"])
        targets = with_end(tokens, token_mask(batch["frame_mask"]), codes)
        before = torch.cat([torch.full_like(tokens[:, :1], codes), tokens[:, :-1]], dim=1)
        if model.training:
            before = corrupted(before, codes, self.config.gpt.corruption)
        logits = model(before, heard(batch)).float()
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        asked = targets != IGNORED
        accuracy = (logits.argmax(dim=2) == targets)[asked].float().mean()
        return {"accuracy": accuracy, "total": loss}


def with_end(tokens: Tensor, mask: Tensor, end: int) -> Tensor:
    """Targets (B, N): tokens where the mask (B, N) is 1, the end right after the last one, and nothing behind it.

    A window that is full to its last token goes on in its recording, and has no end.
    """
    length = mask.sum(dim=1, keepdim=True).long()
    place = torch.arange(tokens.shape[1], device=tokens.device)[None]
    targets = torch.where(place < length, tokens, torch.full_like(tokens, IGNORED))
    return torch.where(place == length, torch.full_like(tokens, end), targets)


def corrupted(before: Tensor, codes: int, shares: tuple[float, float]) -> Tensor:
    """Tokens (B, N), of which a share drawn anew for each row is replaced at random; the beginning stays."""
    low, high = shares
    share = low + (high - low) * torch.rand(len(before), 1, device=before.device)
    replaced = torch.rand(before.shape, device=before.device) < share
    replaced[:, 0] = False
    return torch.where(replaced, torch.randint_like(before, codes), before)


def heard(batch: Batch) -> Heard:
    """The conditions of a batch of windows (B, T), token by token."""
    count = batch["x0"].shape[1] // TOKEN_FRAMES
    music_mask = batch["music_mask"] * batch["has_music"]
    along = (batch["music"], music_mask, batch["rhythm"])
    music, mask, rhythm = (values.unflatten(1, (count, TOKEN_FRAMES)) for values in along)
    text, has_text = (batch[name][:, None].expand(-1, count, -1) for name in ("text", "has_text"))
    return Heard(music, mask, rhythm, text, has_text)
