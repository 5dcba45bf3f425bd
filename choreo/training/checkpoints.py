"""Training checkpoints: written whole or not at all, the newest few kept, and none lost to a full disk."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from choreo.errors import InvalidArtifact, NotSaved
from choreo.files import swap_folder

log = logging.getLogger(__name__)

STATE: Final = "state.pt"


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write `folder/step_N` by way of a temporary folder and a rename, then drop all but the newest `keep`.

    Checkpoints of later steps go as well: a run comes to a step again only when it could not read them.

    Raises:
        OSError: it cannot be written; the checkpoints before are as they were.
    """
    target, partial = folder / f"step_{step:08d}", folder / f".step_{step:08d}.partial"
    sweep(folder)
    try:
        partial.mkdir(parents=True)
        with (partial / STATE).open("wb") as file:
            torch.save(state, file)
        swap_folder(partial, target)
    except RuntimeError as error:  # so torch reports that a write failed
        raise OSError(f"{partial.name}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    found = sorted(folder.glob("step_*"))
    kept = [path for path in found if path.name <= target.name][-keep:]
    for old in set(found) - set(kept):
        shutil.rmtree(old)
    return target


def sweep(folder: Path) -> None:
    """Remove what saves that were cut short left in the folder of the checkpoints and beside it."""
    for partial in folder.glob(".step_*.partial"):
        shutil.rmtree(partial, ignore_errors=True)
    for part in folder.parent.glob("*/.*.part"):
        part.unlink(missing_ok=True)


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


def newest_usable(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that can be read and its state, or None where there is no checkpoint at all.

    Raises:
        InvalidArtifact: there are checkpoints, and none can be read.
    """
    found = sorted(folder.glob("step_*"), reverse=True)
    for path in found:
        try:
            return path, load_checkpoint(path)
        except InvalidArtifact as error:
            log.warning("%s; going back to the one before", str(error).partition("\n")[0])
    if found:
        raise InvalidArtifact(f"no checkpoint in {folder} can be read; remove the folder to begin anew")
    return None


@contextmanager
def tolerate_disk_full(what: str, last: bool) -> Iterator[None]:
    """Let a run go on when something could not be saved, unless nothing will be saved after it.

    Raises:
        NotSaved: a write failed, and it was the last.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if last:
            raise NotSaved(f"{what} could not be written: {reason}. Make room and run it again to go on") from error
        log.warning("%s could not be written: %s. What was saved before is kept, and the run goes on", what, reason)
