"""The first part of a training run: the motion tokeniser."""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from choreo.generators.composite.parts import PartTask
from choreo.generators.composite.recipe import CompositeRecipe
from choreo.models.motion_tokenizer import MotionTokenizer, Reconstruction, codes_in_use, token_mask
from choreo.motion.representation import representation
from choreo.training.ema import Ema
from choreo.training.losses import MotionLoss
from choreo.training.normalized import Batch

ABSOLUTE: Final = 0.02
"""Width of the losses, in normalised units, beyond which errors count by their size (L1) and not by their square."""


class TokenizerTask(PartTask):
    """A tokeniser that learns to reconstruct windows."""

    part = "tokeniser"
    depends_on = CompositeRecipe.of_tokenizer
    shown = ("loss/total", "loss/reconstruction", "joints_m", "codes_in_use", "perplexity")

    def make(self) -> MotionTokenizer:
        """A tokeniser with new weights."""
        return MotionTokenizer(self.config.tokenizer)

    def begin(self, accelerator: Accelerator, ema: Ema) -> None:
        """Build the loss on the network's device."""
        super().begin(accelerator, ema)
        motion = representation(self.config.spec.representation)
        loss = MotionLoss(self.recipe.tokenizer_losses, self._mean, self._std, ABSOLUTE, motion)
        self._motion = loss.to(accelerator.device)

    def terms(self, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
        """Reconstruction by size, velocity and what else the motion is judged by, and the commitment."""
        made: Reconstruction = model(batch["x0"], batch["frame_mask"])
        terms = dict(self._motion(made.features.float(), batch["x0"], batch["frame_mask"], None, batch.get("rhythm")))
        terms["commitment"] = made.commitment
        terms["total"] = terms["total"] + self.recipe.commitment * made.commitment
        return terms

    @torch.no_grad()
    def measures(self, batches: Sequence[Batch], candidate: nn.Module) -> dict[str, float]:
        """The mean error of joints relative to the root, metres, and how many codes the held-out windows use."""
        motion, wrong, frames, tokens = representation(self.config.spec.representation), 0.0, 0.0, []
        for batch in batches:
            mask = batch["frame_mask"]
            made: Reconstruction = candidate(batch["x0"], mask)
            ours, theirs = (motion.joints_of(x * self._std + self._mean) for x in (made.features, batch["x0"]))
            wrong += float(((ours - theirs).norm(dim=-1).mean(dim=-1) * mask).sum())
            frames += float(mask.sum())
            tokens.append(made.tokens[token_mask(mask) > 0])
        used, perplexity = codes_in_use(torch.cat(tokens), self.config.tokenizer.codes)
        return {"joints_m": wrong / max(frames, 1.0), "codes_in_use": float(used), "perplexity": perplexity}
