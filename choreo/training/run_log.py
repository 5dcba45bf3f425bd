"""What a run says while it goes: a progress bar, log lines where there is no terminal, and values for the tracker."""

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Final

from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from choreo.training.checkpoints import tolerate_disk_full

log = logging.getLogger(__name__)

SHOWN: Final = ("loss/total", "fid_k", "dist_k", "foot_skating_ratio", "jerk_m_s3", "beat_alignment_score")
"""Values of a validation that have room in a line; the tracker has all."""


class RunLog:
    """Reports of one run; only the main process shows any."""

    def __init__(self, accelerator: Accelerator, name: str, step: int, max_steps: int, windows_per_step: int) -> None:
        self._accelerator, self._max_steps, self._windows_per_step = accelerator, max_steps, windows_per_step
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
        """Report the loss of a step, and how many windows a second the run looks at."""
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
        self._say(step, "  ".join([f"{k} {values[k]:.3g}" for k in SHOWN if k in values] + [f"best at {best_step}"]))

    def _track(self, step: int, values: Mapping[str, float]) -> None:
        with tolerate_disk_full("the tracker's log", last=False):
            self._accelerator.log(values, step=step)

    def _say(self, step: int, note: str) -> None:
        if self._bar.console.is_terminal and self._accelerator.is_main_process:
            self._bar.print(f"step {step}/{self._max_steps}  {note}")
        elif self._accelerator.is_main_process:
            log.info("step %d/%d  %s", step, self._max_steps, note)
