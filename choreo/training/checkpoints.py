"""Training checkpoints: written whole or not at all, the newest few kept."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from choreo.errors import InvalidArtifact

STATE = "state.pt"


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write `folder/step_N` by way of a temporary folder and a rename, then drop all but the newest `keep`."""
    target, partial = folder / f"step_{step:08d}", folder / f".step_{step:08d}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with (partial / STATE).open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    for old in sorted(folder.glob("step_*"))[:-keep]:
        shutil.rmtree(old)
    return target


def latest_checkpoint(folder: Path) -> Path | None:
    """Newest complete checkpoint of a run, or None."""
    found = sorted(folder.glob("step_*"))
    return found[-1] if found else None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """State saved by `save_checkpoint`.

    Raises:
        InvalidArtifact: missing or truncated.
    """
    try:
        state = torch.load(path / STATE, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the broken byte leads to
        raise InvalidArtifact(f"{path} is not a usable training checkpoint: {error}") from error
    if not isinstance(state, dict):
        raise InvalidArtifact(f"{path} is not a training checkpoint")
    return state
