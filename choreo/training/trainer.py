"""The training loop: accelerate for devices and precision, addressed randomness for exact resume.

Every micro-batch is a function of (seed, index): its windows, its timesteps, its noise and its dropout. So a run that
was stopped and resumed continues on the loss curve of one that was not.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from choreo.data.windows import collate
from choreo.diffusion.schedule import NoiseSchedule
from choreo.errors import InvalidArtifact, MissingDependency, NonFiniteOutput
from choreo.models.generator import Generator, GeneratorConfig, save_generator
from choreo.models.spec import Prediction
from choreo.training.checkpoints import latest_checkpoint, load_checkpoint, save_checkpoint
from choreo.training.ema import Ema
from choreo.training.losses import MotionLoss
from choreo.training.recipe import Recipe, TrainConfig

log = logging.getLogger(__name__)
Batch = dict[str, Tensor]


class Trainer:
    """One run in one folder: `checkpoints/`, `logs/`, and `model/` with the averaged weights at the end."""

    def __init__(
        self, recipe: Recipe, config: GeneratorConfig, train: Dataset, validation: Dataset | None, folder: Path
    ) -> None:
        options = recipe.train
        self.recipe, self.config, self.folder, self.validation = recipe, config, folder, validation
        tracker = None if options.tracker == "none" else options.tracker
        if tracker == "wandb" and find_spec("wandb") is None:
            raise MissingDependency("the recipe logs to W&B: pip install wandb, or change its tracker")
        self.accelerator = Accelerator(
            mixed_precision=options.mixed_precision,
            gradient_accumulation_steps=options.gradient_accumulation,
            log_with=tracker,
            project_dir=folder / "logs",
            step_scheduler_with_optimizer=False,
        )
        torch.manual_seed(options.seed)
        model = Generator(config)
        self.ema = Ema(model, options.ema_decay)
        optimizer = torch.optim.AdamW(
            model.parameters(), options.learning_rate, betas=(0.9, 0.99), weight_decay=options.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_cosine(options))
        self.step = 0
        self._resume(model, optimizer, schedule)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.schedule = schedule
        device = self.accelerator.device
        for shadow in self.ema.shadow:
            self.ema.shadow[shadow] = self.ema.shadow[shadow].to(device)
        spec = config.spec
        self.mean = torch.tensor(spec.mean, dtype=torch.float32, device=device)
        self.std = torch.tensor(spec.std, dtype=torch.float32, device=device)
        self.loss = MotionLoss(recipe.losses, self.mean, self.std).to(device)
        process = NoiseSchedule.make(spec.schedule, spec.num_train_timesteps)
        self.alphas_cumprod = torch.from_numpy(process.alphas_cumprod).to(device, torch.float32)
        self.train_data = train

    def run(self, until: int | None = None) -> Path:
        """Train to `max_steps` (or stop early at `until`), validate and save on the way; returns the model folder.

        Raises:
            NonFiniteOutput: the loss became NaN or infinite; the last checkpoint is untouched.
        """
        options = self.recipe.train
        last = min(until or options.max_steps, options.max_steps)
        self.accelerator.init_trackers(self.recipe.name)
        with _progress(self.accelerator.is_main_process) as progress:
            bar = progress.add_task(self.recipe.name, total=options.max_steps, completed=self.step, note="")
            for batch, index in self._batches():
                if self.step >= last:
                    break
                terms = self._micro_step(batch, index)
                if not self.accelerator.sync_gradients:
                    continue
                self.step += 1
                self._bookkeeping(terms, last)
                progress.update(bar, completed=self.step)
                if self.step % options.log_every == 0:
                    rate = (progress.tasks[bar].speed or 0.0) * options.batch_size * options.gradient_accumulation
                    note = f"loss {float(terms['total']):.3f}  {rate:.0f} windows/s"
                    progress.update(bar, note=note)
                    if not progress.console.is_terminal:
                        log.info("step %d/%d  %s", self.step, options.max_steps, note)
        self.accelerator.end_training()
        return self.folder / "model"

    def _batches(self) -> Iterator[tuple[Batch, int]]:
        options = self.recipe.train
        first = self.step * options.gradient_accumulation
        per = options.batch_size * self.accelerator.num_processes
        rest = Subset(self.train_data, range(first * per, len(self.train_data)))  # type: ignore[arg-type]
        loader = self.accelerator.prepare(DataLoader(rest, options.batch_size, collate_fn=collate, drop_last=True))
        for offset, batch in enumerate(loader):
            yield batch, first + offset

    def _micro_step(self, batch: Batch, index: int) -> Mapping[str, Tensor]:
        options = self.recipe.train
        torch.manual_seed(hash((options.seed, index, self.accelerator.process_index)) & 0x7FFFFFFF)
        self.model.train()
        with self.accelerator.accumulate(self.model):
            terms = self._terms(batch)
            if not torch.isfinite(terms["total"]):
                raise NonFiniteOutput(
                    f"the loss is {float(terms['total'])} at step {self.step}; lower the learning rate"
                )
            self.accelerator.backward(terms["total"])
            if self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(self.model.parameters(), options.max_grad_norm)
            self.optimizer.step()
            if self.accelerator.sync_gradients:
                self.schedule.step()
                self.ema.update(self.accelerator.unwrap_model(self.model))
            self.optimizer.zero_grad()
        return {name: value.detach() for name, value in terms.items()}

    def _terms(self, batch: Batch) -> Mapping[str, Tensor]:
        mask = batch["frame_mask"]
        x0 = (batch["x0"] - self.mean) / self.std * mask[..., None]
        known = (batch["known"] - self.mean) / self.std * batch["known_mask"]
        values = (batch["prior"][..., :-1] - self.mean) / self.std * batch["prior"][..., -1:]
        prior = torch.cat([values, batch["prior"][..., -1:]], dim=2)
        t = torch.randint(len(self.alphas_cumprod), (len(x0),), device=x0.device)
        eps = torch.randn_like(x0)
        a = self.alphas_cumprod[t][:, None, None]
        x_t = a.sqrt() * x0 + (1 - a).sqrt() * eps
        inputs = batch | {"x": x_t, "t": t[:, None].float(), "known": known, "prior": prior}
        output = self.model(inputs).float()
        if self.config.spec.prediction is Prediction.EPS:
            output = (x_t - (1 - a).sqrt() * output) / a.sqrt().clamp(min=1e-3)
        return self.loss(output, x0, mask, a[:, 0, 0])

    def _bookkeeping(self, terms: Mapping[str, Tensor], last: int) -> None:
        options = self.recipe.train
        if self.step % options.log_every == 0:
            values = {f"train/{k}": float(v) for k, v in terms.items()} | {"lr": self.schedule.get_last_lr()[0]}
            self.accelerator.log(values, step=self.step)
        if self.validation is not None and self.step % options.validate_every == 0:
            self.accelerator.log({f"validation/{k}": v for k, v in self.validate().items()}, step=self.step)
        if self.step % options.save_every == 0 or self.step == last:
            self.save()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss terms of the averaged weights over the validation windows, at fixed timesteps and noise."""
        if self.validation is None:
            return {}
        model = self.accelerator.unwrap_model(self.model)
        current = {k: v.clone() for k, v in model.state_dict().items()}
        model.load_state_dict(self.ema.shadow)
        self.model.eval()
        torch.manual_seed(self.recipe.train.seed)
        sums: dict[str, float] = {}
        loader = DataLoader(self.validation, self.recipe.train.batch_size, collate_fn=collate)
        for batch in loader:
            batch = {k: v.to(self.accelerator.device) for k, v in batch.items()}
            for name, value in self._terms(batch).items():
                sums[name] = sums.get(name, 0.0) + float(value) / len(loader)
        model.load_state_dict(current)
        return sums

    def save(self) -> None:
        """Write the resumable checkpoint and the averaged model (main process only)."""
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        state = {
            "step": self.step,
            "recipe": self.recipe.model_dump_json(),
            "model": self.accelerator.unwrap_model(self.model).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "ema": self.ema.state_dict(),
        }
        save_checkpoint(self.folder / "checkpoints", self.step, state, self.recipe.train.keep_checkpoints)
        save_generator(self.folder / "model", self.config, self.ema.shadow)

    def _resume(
        self, model: Generator, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LambdaLR
    ) -> None:
        newest = [latest_checkpoint(self.folder / "checkpoints")]
        broadcast_object_list(newest)
        if newest[0] is None:
            return
        state = load_checkpoint(newest[0])
        saved = Recipe.model_validate_json(state["recipe"])
        if saved.denoiser != self.recipe.denoiser or saved.conditioner != self.recipe.conditioner:
            raise InvalidArtifact(f"{newest[0]} was trained with another architecture; choose another --out")
        self.step = state["step"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        self.ema.load_state_dict(state["ema"])


def warmup_cosine(options: TrainConfig) -> Callable[[int], float]:
    """Learning-rate factor by optimiser step: linear warm-up, then a half cosine to zero at `max_steps`."""

    def factor(step: int) -> float:
        if step < options.warmup_steps:
            return (step + 1) / (options.warmup_steps + 1)
        done = (step - options.warmup_steps) / max(options.max_steps - options.warmup_steps, 1)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    return factor


def num_windows(options: TrainConfig, num_processes: int = 1) -> int:
    """Windows that a whole run looks at."""
    return options.max_steps * options.gradient_accumulation * options.batch_size * num_processes


def _progress(visible: bool) -> Progress:
    columns: Sequence[TextColumn | BarColumn | MofNCompleteColumn | TimeRemainingColumn] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    from rich.console import Console

    return Progress(*columns, console=Console(stderr=True), disable=not visible, refresh_per_second=2)
