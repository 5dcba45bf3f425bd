"""The training loop that all models share: what is trained is a `Task`, and a `TrainingRun` trains it in one folder.

Every micro-batch is a function of (seed, index): its windows, noise and dropout. A run that was stopped and resumed
therefore continues on the loss curve of one that was not.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DataLoaderConfiguration, parse_flag_from_env
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from choreo.data.windows.windows import collate
from choreo.errors import MissingDependency, NonFiniteOutput
from choreo.training.best import SCORES, Best
from choreo.training.checkpoints import newest_usable, save_checkpoint, sweep, tolerate_disk_full
from choreo.training.ema import Ema
from choreo.training.options import TrainConfig
from choreo.training.resuming import last_step
from choreo.training.run_log import RunLog

CHECKPOINTS: Final = "checkpoints"
MODEL: Final = "model"
LAST: Final = "last"


class Task(ABC):
    """What is trained.

    Attributes:
        name: of the run.
        options: of the optimisation.
        network: all that is trained; initialised under `torch.manual_seed(options.seed)`, on the CPU.
        averaged: the network or the part of it whose average is kept.
        windows: all windows of the run, in order.
        best: decides which weights are kept.
        shown: values of a validation that are printed.
        patience: validations without a better one after which the run ends, or None.
    """

    name: str
    options: TrainConfig
    network: nn.Module
    averaged: nn.Module
    windows: Dataset
    best: Best
    shown: tuple[str, ...]
    patience: int | None = None

    @abstractmethod
    def begin(self, accelerator: Accelerator, ema: Ema) -> None:
        """Get ready; the network has been resumed and is on its device."""

    @abstractmethod
    def seed_of(self, index: int, process: int) -> int:
        """Seed of torch for micro-batch `index` of a process."""

    @abstractmethod
    def loss(self, batch: dict[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
        """Terms of the loss, `total` among them; `model` is the network with whatever wraps it."""

    @abstractmethod
    def validate(self, weights: dict[str, Tensor]) -> dict[str, float] | None:
        """Scores of averaged weights, or None where nothing is held out."""

    @abstractmethod
    def save(self, folder: Path, weights: dict[str, Tensor]) -> None:
        """Write averaged weights as a model that can be loaded; each file appears whole or not at all."""

    @abstractmethod
    def description(self) -> dict[str, str]:
        """Entries of a checkpoint that say what was trained."""

    @abstractmethod
    def check(self, state: Mapping[str, Any], path: Path) -> None:
        """Refuse the checkpoint of another task.

        Raises:
            InvalidArtifact: what was trained, or on what, differs.
        """


class TrainingRun:
    """One run in one folder: optimiser, schedule, average, checkpoints, best weights and log of a task.

    `checkpoints/` holds what a run resumes from, `model/` the best averaged weights so far (the newest where nothing is
    held out), `last/` the newest averaged weights, `logs/` the tracker's files.

    Attributes:
        step: optimiser steps done.

    Raises:
        InvalidArtifact: the folder holds another run, or none of its checkpoints can be read.
        MissingDependency: the recipe's tracker is not installed.
    """

    def __init__(self, task: Task, folder: Path) -> None:
        options = task.options
        self.task, self.folder, self.step = task, folder, 0
        self.accelerator = _accelerator(options, folder)
        self.ema = Ema(task.averaged, options.ema_decay)
        optimizer = torch.optim.AdamW(
            task.network.parameters(),
            options.learning_rate,
            betas=options.adam_betas,
            weight_decay=options.weight_decay,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_cosine(options))
        self._resume(optimizer)
        # The network keeps the plain names of its weights, which it shares with what wraps or compiles it.
        self.model, self.optimizer = self.accelerator.prepare(task.network, optimizer)
        if options.compile:
            self.model = torch.compile(self.model)
        self.ema.to(self.accelerator.device)
        task.begin(self.accelerator, self.ema)
        per_step = options.batch_size * options.gradient_accumulation * self.accelerator.num_processes
        self.log = RunLog(self.accelerator, task.name, self.step, options.max_steps, per_step, task.shown)

    def run(self, until: int | None = None) -> Path:
        """Train to `max_steps`, to step `until`, or until patience ends; returns the folder of the best weights.

        Raises:
            InvalidInput: `until` lies before the step that the run is at.
            NonFiniteOutput: the loss became NaN or infinite; the last checkpoint is untouched.
            NotSaved: the last save failed; the one before is untouched.
        """
        last = last_step(until, self.step, self.task.options.max_steps)
        self.accelerator.init_trackers(self.task.name)
        with self.log:
            for index, batch in self._batches():
                if self.step >= last or self._exhausted():
                    break
                terms = self._micro_step(index, batch)
                if not self.accelerator.sync_gradients:
                    continue
                self.step += 1
                self._bookkeeping(terms, last)
                self.log.advance(self.step)
        with tolerate_disk_full("the tracker's log", last=False):
            self.accelerator.end_training()
        return self.folder / MODEL

    def _batches(self) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """The micro-batches that are left, with their indices."""
        options, windows = self.task.options, self.task.windows
        first = self.step * options.gradient_accumulation
        per = options.batch_size * self.accelerator.num_processes
        rest = Subset(windows, range(first * per, len(windows)))  # type: ignore[arg-type]
        yield from enumerate(self.accelerator.prepare(loader(rest, options, self.accelerator, drop_last=True)), first)

    def _micro_step(self, index: int, batch: dict[str, Tensor]) -> Mapping[str, Tensor]:
        torch.manual_seed(self.task.seed_of(index, self.accelerator.process_index))
        self.model.train()
        with self.accelerator.accumulate(self.model):
            terms = self.task.loss(batch, self.model)
            if not torch.isfinite(terms["total"]):
                raise NonFiniteOutput(
                    f"the loss is {terms['total'].item()} at step {self.step}; lower the learning rate"
                )
            self.accelerator.backward(terms["total"])
            if self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(self.model.parameters(), self.task.options.max_grad_norm)
            self.optimizer.step()
            if self.accelerator.sync_gradients:
                self.schedule.step()
                self.ema.update(self.task.averaged)
            self.optimizer.zero_grad()
        return {name: value.detach() for name, value in terms.items()}

    def _exhausted(self) -> bool:
        """Whether the task's patience has ended."""
        patience, best = self.task.patience, self.task.best
        waited = (self.step - best.step) // self.task.options.validate_every
        return patience is not None and best.step > 0 and waited >= patience

    def _bookkeeping(self, terms: Mapping[str, Tensor], last: int) -> None:
        """Log, validate and save where a step asks for it; `last` is the last step of this call."""
        options = self.task.options
        if self.step % options.log_every == 0:
            self.log.trained(self.step, {k: float(v) for k, v in terms.items()}, float(self.schedule.get_last_lr()[0]))
        if self.step % options.validate_every == 0 or self.step == options.max_steps:
            self._validate(last)
        if self.step % options.save_every == 0 or self.step == last:
            self._save(last)

    @torch.no_grad()
    def _validate(self, last: int) -> None:
        """Score the averaged weights, and put them into `model/` if they are the best so far."""
        values = self.task.validate(self.ema.shadow)
        if values is None:
            return
        folder, best = self.folder / MODEL, self.task.best
        if self.accelerator.is_main_process:
            with tolerate_disk_full("the best averaged weights", last=self.step == last):
                best.offer(self.step, values, folder, lambda: self.task.save(folder, self.ema.shadow))
        self.log.validated(self.step, values, best.step)

    def _save(self, last: int) -> None:
        """Write averaged weights and the checkpoint, on the main process only.

        Raises:
            NotSaved: it failed, and this is the last step.
        """
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        state = {
            "step": self.step,
            "model": self.task.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "ema": self.ema.state_dict(),
        }
        # The checkpoint is written last: a run that resumes from it need not rewrite what belongs to its step.
        with tolerate_disk_full("the averaged weights", last=self.step == last):
            self.task.save(self.folder / LAST, self.ema.shadow)
            if not self.task.best.step:
                (self.folder / MODEL / SCORES).unlink(missing_ok=True)
                self.task.save(self.folder / MODEL, self.ema.shadow)
        with tolerate_disk_full(f"the checkpoint of step {self.step}", last=self.step == last):
            state |= self.task.description() | self.task.best.state()
            save_checkpoint(self.folder / CHECKPOINTS, self.step, state, self.task.options.keep_checkpoints)

    def _resume(self, optimizer: torch.optim.Optimizer) -> None:
        folder = self.folder / CHECKPOINTS
        if self.accelerator.is_main_process:
            sweep(folder)
        newest = newest_usable(folder)
        if newest is None:
            return
        path, state = newest
        self.task.check(state, path)
        self.step = state["step"]
        self.task.network.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.ema.load_state_dict(state["ema"])
        self.task.best.load(state)


def loader(windows: Dataset, options: TrainConfig, accelerator: Accelerator, drop_last: bool) -> DataLoader:
    """Batches of windows in their order."""
    return DataLoader(
        windows,
        options.batch_size,
        collate_fn=collate,
        drop_last=drop_last,
        num_workers=options.num_workers,
        pin_memory=accelerator.device.type == "cuda",
    )


def warmup_cosine(options: TrainConfig) -> Callable[[int], float]:
    """Learning-rate factor by optimiser step: linear warm-up, then a half cosine to zero at `max_steps`."""

    def factor(step: int) -> float:
        if step < options.warmup_steps:
            return (step + 1) / (options.warmup_steps + 1)
        done = (step - options.warmup_steps) / max(options.max_steps - options.warmup_steps, 1)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    return factor


def num_windows(options: TrainConfig) -> int:
    """Windows that all processes of a whole run look at together."""
    # As the accelerator will do it: whoever comes first decides how the processes find one another.
    processes = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).num_processes
    return options.max_steps * options.gradient_accumulation * options.batch_size * processes


def _accelerator(options: TrainConfig, folder: Path) -> Accelerator:
    if options.tracker == "wandb" and find_spec("wandb") is None:
        raise MissingDependency("the recipe logs to W&B: pip install wandb, or change its tracker")
    # accelerate keeps the precision of a process's first run for all others; there is no public way to forget it.
    AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=options.mixed_precision,
        gradient_accumulation_steps=options.gradient_accumulation,
        log_with=None if options.tracker == "none" else options.tracker,
        project_dir=folder / "logs",
        step_scheduler_with_optimizer=False,
        dataloader_config=DataLoaderConfiguration(non_blocking=True),
    )
