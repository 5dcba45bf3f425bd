"""The best validation of a run so far, whose weights are kept, and the history of all."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from choreo.evaluation.scorecard import METRICS, Better
from choreo.files import atomic_write
from choreo.training.losses import TERMS

SCORES: Final = "scores.json"
LOSS: Final = "loss/total"
"""Value that selects weights where no dances are made."""
BETTER: Final[Mapping[str, Better]] = MappingProxyType(
    {m.name: m.better for m in METRICS if m.needs in ("positions", "beats")} | {f"loss/{t}": "lower" for t in TERMS}
)
"""Values by which the best weights of a generator may be selected, and which of them are better."""


class Best:
    """The best of a run's validations by one of their values.

    Attributes:
        by: name of the value.
        value: that of the best validation, None before the first.
        step: of the best validation, 0 before the first.
        history: step and value of every validation.
    """

    def __init__(self, by: str, shortfall: Callable[[float], float]) -> None:
        """`shortfall` maps a value to its distance from perfection: the smaller, the better."""
        self.by, self._shortfall = by, shortfall
        self.value: float | None = None
        self.step = 0
        self.history: list[dict[str, float]] = []

    def offer(self, step: int, values: Mapping[str, float], folder: Path, write: Callable[[], None]) -> bool:
        """Record a validation, and keep its weights if it is better than all before.

        Args:
            step: of the run.
            values: of the validation; one without `by` is only recorded.
            folder: of the best weights; their step, values and the history go into its `scores.json`.
            write: writes the weights there.

        Returns:
            Whether it is the best so far.

        Raises:
            OSError: it could not be written; the best validation stays as it was.
        """
        value = values.get(self.by, math.nan)
        self.history = [entry for entry in self.history if entry["step"] < step]
        self.history.append({"step": step} | ({self.by: value} if self.by in values else {}))
        best = math.inf if self.value is None else self._shortfall(self.value)
        if not self._shortfall(value) < best:
            return False
        write()
        document = {"step": step} | dict(values) | {"best_by": self.by, "history": self.history}
        atomic_write(folder / SCORES, (json.dumps(document, indent=1) + "\n").encode())
        self.value, self.step = value, step
        return True

    def state(self) -> dict[str, Any]:
        """Entries of a checkpoint."""
        return {"best": self.value, "best_by": self.by, "best_step": self.step, "validations": self.history}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint, unless it has no best validation or one by another value."""
        if state.get("best_step") and state.get("best_by", self.by) == self.by:
            self.value, self.step = state["best"], state["best_step"]
            self.history = list(state.get("validations", []))


def best_generator(by: str, real: Mapping[str, float]) -> Best:
    """Selection of a generator's weights by a value of `BETTER`; `real` has the values of real motion, for `closer`."""
    match BETTER[by]:
        case "lower":
            return Best(by, lambda value: value)
        case "higher":
            return Best(by, lambda value: -value)
        case "closer":
            return Best(by, lambda value: abs(value - real[by]))
