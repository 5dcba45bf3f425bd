"""The training loop: accelerate for devices and precision, addressed randomness for exact resume.

Every micro-batch is a function of (seed, index): its windows, its timesteps, its noise and its dropout. So a run that
was stopped and resumed continues on the loss curve of one that was not.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from choreo.data.windows.windows import collate
from choreo.errors import InvalidInput, MissingDependency, NonFiniteOutput
from choreo.generators.checkpoint import save_generator
from choreo.generators.config import GeneratorConfig
from choreo.generators.network import GeneratorNetwork
from choreo.generators.registry import generator_class
from choreo.generators.spec import GeneratorSpec
from choreo.training.best import LOSS, SCORES, Best, best_generator
from choreo.training.checkpoints import newest_usable, save_checkpoint, sweep, tolerate_disk_full
from choreo.training.distillation import Distillation, TeacherPath
from choreo.training.ema import Ema
from choreo.training.held_out_dances import HeldOutDances
from choreo.training.losses import MotionLoss
from choreo.training.noising import Noising
from choreo.training.normalized import Batch, normalized
from choreo.training.objectives import Denoising, Objective
from choreo.training.recipe import Recipe, TrainConfig
from choreo.training.resuming import last_step, refuse_another_run
from choreo.training.run_log import RunLog

CHECKPOINTS: Final = "checkpoints"
MODEL: Final = "model"
LAST: Final = "last"
GAUSSIAN_WINDOWS: Final = 1024
"""Windows that the network's Gaussian model is fitted to."""


class Trainer:
    """One run in one folder.

    `checkpoints/` has what a run is resumed from, `model/` the best averaged weights so far (the newest where nothing
    is held out), `last/` the newest, `logs/` the tracker's files.
    """

    def __init__(
        self,
        recipe: Recipe,
        config: GeneratorConfig,
        train: Dataset,
        validation: Dataset | None,
        folder: Path,
        dances: HeldOutDances | None = None,
        teacher: GeneratorNetwork | None = None,
    ) -> None:
        """`teacher` is whom a recipe with `distillation` names; the run begins with its weights."""
        options = recipe.train
        self.recipe, self.config, self.folder = recipe, config, folder
        self.train_data, self.validation, self.dances = train, validation, dances
        self.accelerator = _accelerator(options, folder)
        torch.manual_seed(options.seed)
        self.network = generator_class(config.spec.family).network(config)
        if teacher is None:
            self.network.fit(_whole_windows(train, config.spec))
        else:
            self.network.load_state_dict(teacher.state_dict())
        self.ema = Ema(self.network, options.ema_decay)
        optimizer = torch.optim.AdamW(
            self.network.parameters(), options.learning_rate, betas=(0.9, 0.99), weight_decay=options.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_cosine(options))
        self.best = _best(options, dances)
        self.step = 0
        self._resume(optimizer)
        # The network keeps the plain names of its weights, which it shares with what wraps or compiles it.
        self.model, self.optimizer = self.accelerator.prepare(self.network, optimizer)
        if options.compile:
            self.model = torch.compile(self.model)
        device = self.accelerator.device
        self.ema.shadow = {name: value.to(device) for name, value in self.ema.shadow.items()}
        spec = config.spec
        self.mean = torch.tensor(spec.mean, dtype=torch.float32, device=device)
        self.std = torch.tensor(spec.std, dtype=torch.float32, device=device)
        self.objective = self._objective(teacher)
        per_step = options.batch_size * options.gradient_accumulation * self.accelerator.num_processes
        self.log = RunLog(self.accelerator, recipe.name, self.step, options.max_steps, per_step)

    def run(self, until: int | None = None) -> Path:
        """Train to `max_steps` (or stop early at `until`), validate and save on the way; returns the model folder.

        Raises:
            InvalidInput: `until` lies before the step that the run is at.
            NonFiniteOutput: the loss became NaN or infinite; the last checkpoint is untouched.
            NotSaved: the last save failed; the one before is untouched.
        """
        last = last_step(until, self.step, self.recipe.train.max_steps)
        self.accelerator.init_trackers(self.recipe.name)
        with self.log:
            for batch, index in self._batches():
                if self.step >= last:
                    break
                terms = self._micro_step(batch, index)
                if not self.accelerator.sync_gradients:
                    continue
                self.step += 1
                self._bookkeeping(terms, last)
                self.log.advance(self.step)
        with tolerate_disk_full("the tracker's log", last=False):
            self.accelerator.end_training()
        return self.folder / MODEL

    def _batches(self) -> Iterator[tuple[Batch, int]]:
        options = self.recipe.train
        first = self.step * options.gradient_accumulation
        per = options.batch_size * self.accelerator.num_processes
        rest = Subset(self.train_data, range(first * per, len(self.train_data)))  # type: ignore[arg-type]
        loader = self.accelerator.prepare(self._loader(rest, drop_last=True))
        for offset, batch in enumerate(loader):
            yield batch, first + offset

    def _loader(self, data: Dataset, drop_last: bool) -> DataLoader:
        options = self.recipe.train
        return DataLoader(
            data,
            options.batch_size,
            collate_fn=collate,
            drop_last=drop_last,
            num_workers=options.num_workers,
            pin_memory=self.accelerator.device.type == "cuda",
        )

    def _micro_step(self, batch: Batch, index: int) -> Mapping[str, Tensor]:
        options = self.recipe.train
        torch.manual_seed(hash((options.seed, index, self.accelerator.process_index)) & 0x7FFFFFFF)
        self.model.train()
        with self.accelerator.accumulate(self.model):
            terms = self._terms(batch, self.model)
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
                self.ema.update(self.network)
            self.optimizer.zero_grad()
        return {name: value.detach() for name, value in terms.items()}

    def _terms(self, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
        return self.objective(normalized(batch, self.mean, self.std), model)

    def _objective(self, teacher: GeneratorNetwork | None) -> Objective:
        recipe, noising = self.recipe, Noising(self.network)
        huber = recipe.distillation.huber if recipe.distillation else None
        loss = MotionLoss(recipe.losses, self.mean, self.std, huber).to(self.accelerator.device)
        if recipe.distillation is None:
            return Denoising(noising, loss)
        if teacher is None:
            raise ValueError("a recipe with distillation needs its teacher")
        path = TeacherPath(recipe.distillation, teacher.to(self.accelerator.device), noising)
        return Distillation(path, self.network, self.ema, noising, loss)

    def _bookkeeping(self, terms: Mapping[str, Tensor], last: int) -> None:
        options = self.recipe.train
        if self.step % options.log_every == 0:
            self.log.trained(self.step, {k: float(v) for k, v in terms.items()}, float(self.schedule.get_last_lr()[0]))
        due = self.step % options.validate_every == 0 or self.step == options.max_steps
        if self.validation is not None and due:
            self._keep_best(self.validate(), last)
        if self.step % options.save_every == 0 or self.step == last:
            self.save(last)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """What the averaged weights are worth on what is held out.

        `loss/...` are the loss terms over the validation windows at fixed timesteps and noise; the other values are of
        the dances (`HeldOutDances.scores`), where there are any.
        """
        if self.validation is None:
            return {}
        self.averaged.load_state_dict(self.ema.shadow)
        torch.manual_seed(self.recipe.train.seed)
        sums: dict[str, float] = {}
        loader = self._loader(self.validation, drop_last=False)
        with self.accelerator.autocast():
            for batch in loader:
                batch = {k: v.to(self.accelerator.device) for k, v in batch.items()}
                for name, value in self._terms(batch, self.averaged).items():
                    sums[f"loss/{name}"] = sums.get(f"loss/{name}", 0.0) + float(value) / len(loader)
        return sums | (self.dances.scores(self.averaged) if self.dances is not None else {})

    @cached_property
    def averaged(self) -> GeneratorNetwork:
        """A generator that the averaged weights are tried in."""
        return generator_class(self.config.spec.family).network(self.config).to(self.accelerator.device).eval()

    def _keep_best(self, values: Mapping[str, float], last: int) -> None:
        """Report a validation, and put its weights into `model` when they are the best so far."""
        folder = self.folder / MODEL
        if self.accelerator.is_main_process:
            with tolerate_disk_full("the best averaged weights", last=self.step == last):
                self.best.offer(self.step, values, folder, lambda: save_generator(folder, self.config, self.ema.shadow))
        self.log.validated(self.step, values, self.best.step)

    def save(self, last: int) -> None:
        """Write the resumable checkpoint and the averaged weights (main process only); `last` is the run's last step.

        Raises:
            NotSaved: it failed, and this is the last step.
        """
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        state = {
            "step": self.step,
            "recipe": self.recipe.model_dump_json(),
            "config": self.config.model_dump_json(),
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "ema": self.ema.state_dict(),
        }
        # The checkpoint comes last: a run that goes on from it need not write again what belongs to its step.
        with tolerate_disk_full("the averaged weights", last=self.step == last):
            save_generator(self.folder / LAST, self.config, self.ema.shadow)
            if not self.best.step:
                (self.folder / MODEL / SCORES).unlink(missing_ok=True)
                save_generator(self.folder / MODEL, self.config, self.ema.shadow)
        with tolerate_disk_full(f"the checkpoint of step {self.step}", last=self.step == last):
            folder, keep = self.folder / CHECKPOINTS, self.recipe.train.keep_checkpoints
            save_checkpoint(folder, self.step, state | self.best.state(), keep)

    def _resume(self, optimizer: torch.optim.Optimizer) -> None:
        folder = self.folder / CHECKPOINTS
        if self.accelerator.is_main_process:
            sweep(folder)
        newest = newest_usable(folder)
        if newest is None:
            return
        path, state = newest
        refuse_another_run(state, self.recipe, self.config, path)
        self.step = state["step"]
        self.network.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.ema.load_state_dict(state["ema"])
        self.best.load(state)


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


def _whole_windows(data: Dataset, spec: GeneratorSpec) -> NDArray[np.float32]:
    """Normalised motion (N, T, C) of the first windows, those that are full."""
    count = min(GAUSSIAN_WINDOWS, len(data))  # type: ignore[arg-type]
    windows = [data[i] for i in range(count)]
    full = [w for w in windows if w["frame_mask"].all()] or windows
    return spec.normalize(np.stack([w["x0"] for w in full]))


def _accelerator(options: TrainConfig, folder: Path) -> Accelerator:
    if options.tracker == "wandb" and find_spec("wandb") is None:
        raise MissingDependency("the recipe logs to W&B: pip install wandb, or change its tracker")
    return Accelerator(
        mixed_precision=options.mixed_precision,
        gradient_accumulation_steps=options.gradient_accumulation,
        log_with=None if options.tracker == "none" else options.tracker,
        project_dir=folder / "logs",
        step_scheduler_with_optimizer=False,
        dataloader_config=DataLoaderConfiguration(non_blocking=True),
    )


def _best(options: TrainConfig, dances: HeldOutDances | None) -> Best:
    """The best so far by what the recipe says, or by the loss where no dances are made.

    Raises:
        InvalidInput: the held-out windows do not have what the recipe asks for.
    """
    by = options.best_by
    if by.startswith("loss/") or dances is None:
        return best_generator(by if by.startswith("loss/") else LOSS, {})
    if by not in dances.real:
        raise InvalidInput(
            "train.best_by", f"is {by}, which held-out dances do not have here; they have {', '.join(dances.real)}"
        )
    return best_generator(by, dances.real)
