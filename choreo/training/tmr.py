"""The training of the text-motion encoder, as a task of `choreo.training.loop.TrainingRun`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils.data import Dataset

from choreo.data.clip import Clip, representation_of
from choreo.data.windows.captioned import CaptionedWindows, Sentences, canonical_statistics, captioned_motions
from choreo.errors import InvalidArtifact, InvalidInput
from choreo.evaluation.retrieval_precision import TOPS
from choreo.models.tmr import MotionDecoder, TextMotionModel, TextMotionSpec, save_text_motion
from choreo.text.encoders import TextEncoder
from choreo.training.best import Best
from choreo.training.contrastive import info_nce, masked_smooth_l1, regularization, true_of
from choreo.training.ema import Ema
from choreo.training.held_out_retrieval import WAYS, HeldOutRetrieval, selection_score
from choreo.training.loop import Task, TrainingRun, num_windows
from choreo.training.recipe import TextMotionRecipe


class TextMotionAutoencoder(nn.Module):
    """Both encoders and the decoder, with their losses."""

    def __init__(self, spec: TextMotionSpec, recipe: TextMotionRecipe) -> None:
        super().__init__()
        self.weights, self.text_noise = recipe.losses, recipe.text_noise
        self.encoders = TextMotionModel(spec)
        self.decoder = MotionDecoder(spec)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms of a batch of `CaptionedWindows`, and their weighted `total`."""
        mask, text = batch["mask"], batch["text"]
        motion = self.encoders.encode_motion(batch["features"], mask)
        written = self.encoders.encode_text(text + self.text_noise * torch.randn_like(text))
        target = self.encoders.normalize(batch["features"], mask)
        latents = [
            mean + torch.randn_like(mean) * (0.5 * log_variance).exp() for mean, log_variance in (motion, written)
        ]
        terms = {
            "reconstruction": torch.stack(
                [masked_smooth_l1(self.decoder(z, mask), target, mask) for z in latents]
            ).sum(),
            "kl": regularization(motion, written),
            "latent": nn.functional.smooth_l1_loss(latents[1], latents[0]),
            "contrastive": info_nce(motion[0], written[0], true_of(batch), self.weights.temperature),
        }
        terms["total"] = torch.stack([getattr(self.weights, name) * value for name, value in terms.items()]).sum()
        return terms


class TextMotionTask(Task):
    """The text-motion encoder; the run ends when held-out retrieval no longer improves."""

    shown = ("selection", *(f"{kind}/{way}@{k}" for kind in ("pool", "full") for way in WAYS for k in TOPS))

    def __init__(
        self, recipe: TextMotionRecipe, spec: TextMotionSpec, windows: Dataset, held_out: HeldOutRetrieval | None
    ) -> None:
        """An encoder with initial weights.

        Args:
            recipe: of the run.
            spec: of the encoder.
            windows: all captioned windows of the run, in order.
            held_out: pairs that retrieval is scored on.
        """
        self.recipe, self.spec, self.name, self.options = recipe, spec, recipe.name, recipe.train
        self.windows, self.held_out, self.patience = windows, held_out, recipe.patience
        torch.manual_seed(recipe.train.seed)
        self.network = TextMotionAutoencoder(spec, recipe)
        self.averaged = self.network.encoders
        self.best = Best("selection", lambda score: -score)

    def begin(self, accelerator: Accelerator, ema: Ema) -> None:
        """Refuse more than one process.

        Raises:
            InvalidInput: there is more than one.
        """
        if accelerator.num_processes > 1:
            raise InvalidInput("train", "one process trains a text-motion encoder: pairs are contrasted within a batch")
        self._device = accelerator.device

    def seed_of(self, index: int, process: int) -> int:
        """A hash of the recipe's seed and the batch."""
        return hash((self.options.seed, index)) & 0x7FFFFFFF

    def loss(self, batch: dict[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
        """Loss terms of a batch of `CaptionedWindows`."""
        return model(batch)

    def validate(self, weights: dict[str, Tensor]) -> dict[str, float] | None:
        """Retrieval scores of averaged encoders, and `selection`, by which the best are chosen."""
        if self.held_out is None:
            return None
        model = TextMotionModel(self.spec).to(self._device)
        model.load_state_dict(weights)
        scores = self.held_out.scores(model.eval())
        return scores | {self.best.by: selection_score(scores)}

    def save(self, folder: Path, weights: dict[str, Tensor]) -> None:
        """Write a checkpoint folder of the encoders."""
        save_text_motion(folder, self.spec, weights)

    def description(self) -> dict[str, str]:
        """The recipe as JSON."""
        return {"recipe": self.recipe.model_dump_json()}

    def check(self, state: Mapping[str, Any], path: Path) -> None:
        """Refuse the checkpoint of another architecture."""
        try:
            saved = TextMotionRecipe.model_validate_json(state["recipe"])
        except (KeyError, ValidationError) as error:
            raise InvalidArtifact(f"{path} is not a checkpoint of a text-motion encoder: {error}") from error
        if saved.network != self.recipe.network:
            raise InvalidArtifact(f"{path} was trained with another architecture; choose another --out")


def train_text_motion(
    recipe: TextMotionRecipe,
    training: Sequence[Clip],
    held_out: Sequence[Clip],
    encoder: TextEncoder,
    folder: Path,
    until: int | None = None,
) -> Path:
    """Run or resume `recipe` on clips; returns the folder of the best averaged encoders.

    Args:
        recipe: what to train, and how.
        training: clips to train on.
        held_out: clips whose captions are retrieved; without any the newest weights are kept.
        encoder: of sentences.
        folder: of the run.
        until: step to stop after.

    Raises:
        InvalidInput: no clip has a caption.
        InvalidArtifact: the folder holds a run of another architecture.
        NotSaved: the last save failed.
    """
    if not any(clip.captions for clip in training):
        raise InvalidInput("data", "holds no captioned clip to train on")
    window = recipe.network.window
    mean, std = canonical_statistics(training, window)
    motion = representation_of(training).name
    spec = TextMotionSpec(name=recipe.name, network=recipe.network, representation=motion, mean=mean, std=std)
    sentences = Sentences(training, encoder, recipe.losses.similarity)
    windows = CaptionedWindows(training, sentences, num_windows(recipe.train), recipe.train.seed, window=window)
    pairs = captioned_motions(held_out, window)
    scored = HeldOutRetrieval.of(pairs, encoder) if pairs else None
    return TrainingRun(TextMotionTask(recipe, spec, windows, scored), folder).run(until)
