"""The training run of the text-motion encoder: resumable, and stopped when held-out retrieval no longer improves."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from choreo.data.clip import Clip
from choreo.data.windows.captioned import CaptionedWindows, Sentences, canonical_statistics, captioned_motions
from choreo.data.windows.windows import collate
from choreo.errors import InvalidArtifact, InvalidInput, NonFiniteOutput
from choreo.models.tmr import MotionDecoder, TextMotionModel, TextMotionSpec, save_text_motion
from choreo.text.encoders import TextEncoder
from choreo.training.best import Best
from choreo.training.checkpoints import latest_checkpoint, load_checkpoint, save_checkpoint
from choreo.training.contrastive import info_nce, masked_smooth_l1, regularization, true_of
from choreo.training.ema import Ema
from choreo.training.held_out_retrieval import HeldOutRetrieval, selection_score
from choreo.training.recipe import TextMotionRecipe
from choreo.training.resuming import last_step
from choreo.training.trainer import num_windows, warmup_cosine

log = logging.getLogger(__name__)
MODEL = "model"


class TextMotionAutoencoder(nn.Module):
    """Both encoders and the decoder, with their losses."""

    def __init__(self, spec: TextMotionSpec, recipe: TextMotionRecipe) -> None:
        super().__init__()
        self.weights, self.text_noise = recipe.losses, recipe.text_noise
        self.encoders = TextMotionModel(spec)
        self.decoder = MotionDecoder(spec.network)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms of a batch of `CaptionedWindows` and their weighted `total`."""
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


class TextMotionTrainer:
    """One run in one folder: `checkpoints/`, `logs/`, and `model/` with the best averaged weights so far."""

    def __init__(
        self,
        recipe: TextMotionRecipe,
        spec: TextMotionSpec,
        train: CaptionedWindows,
        held_out: HeldOutRetrieval | None,
        folder: Path,
    ) -> None:
        options = recipe.train
        self.recipe, self.spec, self.held_out, self.folder, self.data = recipe, spec, held_out, folder, train
        self.accelerator = Accelerator(
            mixed_precision=options.mixed_precision,
            log_with=None if options.tracker == "none" else options.tracker,
            project_dir=folder / "logs",
        )
        if self.accelerator.num_processes > 1:
            raise InvalidInput("train", "one process trains a text-motion encoder: pairs contrast within a batch")
        torch.manual_seed(options.seed)
        self.model = TextMotionAutoencoder(spec, recipe)
        self.ema = Ema(self.model.encoders, options.ema_decay)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), options.learning_rate, betas=(0.9, 0.99), weight_decay=options.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, warmup_cosine(options))
        self.step, self.best = 0, Best("selection", lambda score: -score)
        self._resume()
        self.prepared, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
        self.ema.shadow = {k: v.to(self.accelerator.device) for k, v in self.ema.shadow.items()}

    def run(self, until: int | None = None) -> Path:
        """Train to `max_steps`, to `until`, or until `patience` validations pass without a better one.

        Raises:
            InvalidInput: `until` lies before the step that the run is at.
            NonFiniteOutput: the loss became NaN or infinite; the last checkpoint is untouched.
        """
        options = self.recipe.train
        last = last_step(until, self.step, options.max_steps)
        self.accelerator.init_trackers(self.recipe.name)
        rest = Subset(self.data, range(self.step * options.batch_size, num_windows(options)))
        for batch in DataLoader(rest, options.batch_size, collate_fn=collate):
            if self.step >= last or self._exhausted():
                break
            terms = self._step({k: v.to(self.accelerator.device) for k, v in batch.items()})
            self.step += 1
            if self.step % options.log_every == 0:
                self._log("train", {k: float(v) for k, v in terms.items()})
            if self.step % options.validate_every == 0 or self.step == last:
                self._validate()
            if self.step % options.save_every == 0 or self.step == last:
                self._save()
        self.accelerator.end_training()
        return self.folder / MODEL

    def _step(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        options = self.recipe.train
        torch.manual_seed(hash((options.seed, self.step)) & 0x7FFFFFFF)
        self.prepared.train()
        terms = self.prepared(batch)
        if not torch.isfinite(terms["total"]):
            raise NonFiniteOutput(f"the loss is {float(terms['total'])} at step {self.step}; lower the learning rate")
        self.accelerator.backward(terms["total"])
        self.accelerator.clip_grad_norm_(self.model.parameters(), options.max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.ema.update(self.model.encoders)
        return {name: value.detach() for name, value in terms.items()}

    def _exhausted(self) -> bool:
        waited = (self.step - self.best.step) // self.recipe.train.validate_every
        return self.held_out is not None and self.best.step > 0 and waited >= self.recipe.patience

    def _averaged(self) -> TextMotionModel:
        model = TextMotionModel(self.spec).to(self.accelerator.device)
        model.load_state_dict(self.ema.shadow)
        return model.eval()

    def _validate(self) -> None:
        """Score the averaged weights; keep them when they are the best so far, or when there is nothing to score."""
        if self.held_out is None:
            save_text_motion(self.folder / MODEL, self.spec, self.ema.shadow)
            return
        scores = self.held_out.scores(self._averaged())
        scores |= {self.best.by: selection_score(scores)}
        self._log("validation", scores)
        folder = self.folder / MODEL
        self.best.offer(self.step, scores, folder, lambda: save_text_motion(folder, self.spec, self.ema.shadow))

    def _log(self, kind: str, values: Mapping[str, float]) -> None:
        self.accelerator.log({f"{kind}/{k}": v for k, v in values.items()}, step=self.step)
        shown = "  ".join(f"{k} {v:.3f}" for k, v in values.items() if "chance" not in k)
        log.info("step %d/%d  %s", self.step, self.recipe.train.max_steps, shown)

    def _save(self) -> None:
        state = {
            "step": self.step,
            "recipe": self.recipe.model_dump_json(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "ema": self.ema.state_dict(),
        }
        state |= self.best.state()
        save_checkpoint(self.folder / "checkpoints", self.step, state, self.recipe.train.keep_checkpoints)

    def _resume(self) -> None:
        newest = latest_checkpoint(self.folder / "checkpoints")
        if newest is None:
            return
        state = load_checkpoint(newest)
        if TextMotionRecipe.model_validate_json(state["recipe"]).network != self.recipe.network:
            raise InvalidArtifact(f"{newest} was trained with another architecture; choose another --out")
        self.step = state["step"]
        self.best.load(state)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.ema.load_state_dict(state["ema"])


def train_text_motion(
    recipe: TextMotionRecipe,
    training: Sequence[Clip],
    held_out: Sequence[Clip],
    encoder: TextEncoder,
    folder: Path,
    until: int | None = None,
) -> Path:
    """Run or resume `recipe` on clips; returns the folder of the best averaged encoders.

    Raises:
        InvalidInput: no clip has a caption.
    """
    if not any(clip.captions for clip in training):
        raise InvalidInput("data", "holds no captioned clip to train on")
    mean, std = canonical_statistics(training)
    spec = TextMotionSpec(name=recipe.name, network=recipe.network, mean=mean, std=std)
    sentences = Sentences(training, encoder, recipe.losses.similarity)
    windows = CaptionedWindows(training, sentences, num_windows(recipe.train), recipe.train.seed)
    pairs = captioned_motions(held_out)
    scored = HeldOutRetrieval.of(pairs, encoder) if pairs else None
    return TextMotionTrainer(recipe, spec, windows, scored, folder).run(until)
