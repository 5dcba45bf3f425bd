"""Reports of a training run: a progress bar, log lines where there is no terminal, and values for the tracker."""

import logging
from collections.abc import Mapping, Sequence
from types import TracebackType

from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from choreo.training.checkpoints import tolerate_disk_full

log = logging.getLogger(__name__)


class RunLog:
    """Reports of one run, from the main process only; a context manager, within which the bar is shown."""

    def __init__(
        self,
        accelerator: Accelerator,
        name: str,
        step: int,
        max_steps: int,
        windows_per_step: int,
        shown: Sequence[str],
    ) -> None:
        """A log that starts at `step`; of a validation it prints the values `shown`, the tracker gets all."""
        self._accelerator, self._max_steps, self._windows_per_step = accelerator, max_steps, windows_per_step
        self._shown = shown
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            disable=not accelerator.is_main_process,
            refresh_per_second=2,
        )
        self._task = self._bar.add_task(name, total=max_steps, completed=step, note="")

    def __enter__(self) -> "RunLog":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, step: int) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=step)

    def trained(self, step: int, terms: Mapping[str, float], learning_rate: float) -> None:
        """Report the loss of a step and the windows processed per second."""
        rate = (self._bar.tasks[self._task].speed or 0.0) * self._windows_per_step
        values = {f"train/{k}": v for k, v in terms.items()}
        self._track(step, values | {"train/windows_per_second": rate, "lr": learning_rate})
        note = f"loss {terms['total']:.3f}  {rate:.0f} windows/s"
        self._bar.update(self._task, note=note)
        if not self._bar.console.is_terminal:
            self._say(step, note)

    def validated(self, step: int, values: Mapping[str, float], best_step: int) -> None:
        """Report a validation, and the step of the best one so far."""
        self._track(step, {f"validation/{k}": v for k, v in values.items()})
        shown = [f"{k} {values[k]:.3g}" for k in self._shown if k in values]
        self._say(step, "  ".join([*shown, f"best at {best_step}"]))

    def _track(self, step: int, values: Mapping[str, float]) -> None:
        with tolerate_disk_full("the tracker's log", last=False):
            self._accelerator.log(values, step=step)

    def _say(self, step: int, note: str) -> None:
        if self._bar.console.is_terminal and self._accelerator.is_main_process:
            self._bar.print(f"step {step}/{self._max_steps}  {note}")
        elif self._accelerator.is_main_process:
            log.info("step %d/%d  %s", step, self._max_steps, note)
