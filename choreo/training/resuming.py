"""Checks before a run resumes from a checkpoint, and the step it stops at."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.config import GeneratorConfig
from choreo.training.recipe import GeneratorRecipe

TOLERANCE: Final = 1e-3
"""Statistics of one data set agree to this on every machine; those of two data sets do not."""


def refuse_another_run(
    state: Mapping[str, Any],
    recipe: GeneratorRecipe,
    config: GeneratorConfig,
    path: Path,
    decisive: Sequence[str] | None = None,
) -> None:
    """Check that a checkpoint is of this model and was trained on this data.

    Args:
        state: of the checkpoint; without `config` its data is not checked.
        recipe: of the run that would resume.
        config: with the statistics of its data.
        path: of the checkpoint.
        decisive: fields of the recipe that the weights depend on; None: the recipe's.

    Raises:
        InvalidArtifact: it is not, or does not state its recipe.
    """
    try:
        saved = type(recipe).model_validate_json(state["recipe"])
        before = type(config).model_validate_json(state["config"]) if "config" in state else None
    except (KeyError, ValidationError) as error:
        raise InvalidArtifact(f"{path} is not a checkpoint of a generator: {error}") from error
    for field in recipe.decisive if decisive is None else decisive:
        if getattr(saved, field) != getattr(recipe, field):
            raise InvalidArtifact(f"{path} was trained with another {field}; choose another --out")
    if before is None:
        return
    then_and_now = zip(before.statistics().items(), config.statistics().values(), strict=True)
    for (name, then), now in then_and_now:
        if not np.allclose(then, now, rtol=TOLERANCE, atol=TOLERANCE):
            raise InvalidArtifact(
                f"{path} was trained on other data: its {name} differs; give the --data it was trained on, or choose "
                "another --out"
            )


def last_step(until: int | None, step: int, max_steps: int) -> int:
    """Step that a run at `step` stops after: `until`, or `max_steps` if that comes first.

    Raises:
        InvalidInput: `until` lies before the step that the run is at.
    """
    if until is not None and until < max(step, 1):
        raise InvalidInput(
            "until", f"is {until}, but the run is at step {step} already" if step else "must be 1 or more"
        )
    return max_steps if until is None else min(until, max_steps)
