"""Training checkpoints: written whole or not at all, the newest few kept; a full disk does not end a run."""

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
    """Write `folder/step_N` to a temporary folder, rename it, and delete all but the newest `keep`.

    Checkpoints of later steps are deleted too: a run reaches a step again only if it could not read them.

    Raises:
        OSError: it cannot be written; earlier checkpoints are as they were.
    """
    target, partial = folder / f"step_{step:08d}", folder / f".step_{step:08d}.partial"
    sweep(folder)
    try:
        partial.mkdir(parents=True)
        with (partial / STATE).open("wb") as file:
            torch.save(state, file)
        swap_folder(partial, target)
    except RuntimeError as error:  # torch's report of a failed write
        raise OSError(f"{partial.name}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    found = sorted(folder.glob("step_*"))
    kept = [path for path in found if path.name <= target.name][-keep:]
    for old in set(found) - set(kept):
        shutil.rmtree(old)
    return target


def sweep(folder: Path) -> None:
    """Remove what interrupted saves left in the folder of checkpoints and in the folders next to it."""
    for partial in folder.glob(".step_*.partial"):
        shutil.rmtree(partial, ignore_errors=True)
    for part in folder.parent.glob("*/.*.part"):
        if part.is_file():  # a folder of that name belongs to somebody else
            part.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """State saved by `save_checkpoint`.

    Raises:
        InvalidArtifact: missing or truncated.
    """
    try:
        state = torch.load(path / STATE, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds of error on broken bytes
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
        raise InvalidArtifact(f"no checkpoint in {folder} can be read; remove the folder to start again")
    return None


@contextmanager
def tolerate_disk_full(what: str, last: bool) -> Iterator[None]:
    """Let a run continue when something could not be saved, unless it is the `last` save.

    Raises:
        NotSaved: the last write failed.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if last:
            raise NotSaved(f"{what} could not be written: {reason}. Make room and run it again to continue") from error
        log.warning("%s could not be written: %s. What was saved before is kept, and the run continues", what, reason)
