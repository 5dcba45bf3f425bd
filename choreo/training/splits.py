"""The training and validation clips of a data set, read from disk, and what is required of clips."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import Progress

from choreo.data.clip import Clip
from choreo.data.datasets import Dataset, open_dataset
from choreo.data.layouts.recording import Skipped
from choreo.data.windows.windows import WindowOptions
from choreo.errors import InvalidInput
from choreo.music.beats import RHYTHM_CHANNELS
from choreo.music.encoders import DSP35, MusicEncoder

log = logging.getLogger(__name__)

TRAINING, HELD_OUT = "train", "val"
"""Parts of a data set's split that are read; a part for tests is left alone."""
MAX_REASONS: Final = 3
"""Reasons in a message about what was skipped; a run's `data.json` has all."""


@dataclass(frozen=True)
class Splits:
    """Clips to train on and clips to validate on.

    Attributes:
        training: in the data set's order.
        held_out: in the data set's order.
        skipped: what was not loaded, and why.
        origin: name of the data set, and where its split comes from.
    """

    training: list[Clip]
    held_out: list[Clip]
    skipped: tuple[Skipped, ...] = ()
    origin: str = "none"


def read_splits(root: Path, max_recordings: int | None = None, encoder: MusicEncoder = DSP35) -> Splits:
    """The training and held-out clips of the data set in a folder; progress and what is skipped go to stderr.

    Args:
        root: of the data set.
        max_recordings: recordings to read of each, spread evenly; None: all.
        encoder: of the music.

    Raises:
        InvalidInput: not a data set, or nothing usable in one of the two.
    """
    dataset = open_dataset(root, encoder)
    split = dataset.split()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        training, held_out = (
            _clips(dataset, _spread(split.parts.get(part, ()), max_recordings), part, progress)
            for part in (TRAINING, HELD_OUT)
        )
    skipped = tuple(dataset.skipped)
    shown = [f"{s.name} {s.reason}" for s in skipped[:MAX_REASONS]]
    reasons = "; ".join(shown + ["..."] * (len(skipped) > MAX_REASONS))
    if skipped:
        log.warning("%d parts of %s were skipped: %s", len(skipped), root, reasons)
    for part, clips in ((TRAINING, training), (HELD_OUT, held_out)):
        if not clips:
            raise InvalidInput(
                "data", f"nothing in the split {part!r} of {root} can be used: {reasons or 'it is empty'}"
            )
    return Splits(training, held_out, skipped, f"{dataset.name}, {split.origin} split")


def check_clips(clips: Sequence[Clip], music_dim: int | None = None) -> None:
    """Refuse clips whose arrays do not fit together.

    Args:
        clips: to train on or to validate on.
        music_dim: width of the model's music features; None where it takes none.

    Raises:
        InvalidInput: features, heading, rhythm or music of another length or width, NaN or infinity, or no clip that is
            long enough for a window.
    """
    for clip in clips:
        arrays = {
            "features": (clip.features, (clip.representation.channels,)),
            "heading": (clip.heading, ()),
            "rhythm": (clip.rhythm, (RHYTHM_CHANNELS,)),
        }
        if clip.music is not None and music_dim is not None:
            if clip.music.ndim == 2 and clip.music.shape[1] != music_dim:
                raise InvalidInput(
                    "conditioner.music_dim",
                    f"is {music_dim}, but the music features of {clip.key} have {clip.music.shape[1]} columns",
                )
            arrays["music"] = (clip.music, (music_dim,))
        for name, (values, width) in arrays.items():
            expected = (clip.num_frames, *width)
            if values.shape != expected:
                raise InvalidInput(clip.key, f"has {name} of shape {values.shape}, not {expected}")
            if not np.isfinite(values).all():
                raise InvalidInput(clip.key, f"has NaN or infinite {name}")
    shortest = WindowOptions().min_frames
    if clips and max(clip.num_frames for clip in clips) < shortest:
        raise InvalidInput("data", f"has a split without any clip of {shortest} frames, the shortest window")


def _spread(keys: tuple[str, ...], count: int | None) -> tuple[str, ...]:
    """At most `count` keys, spread evenly."""
    if count is None or len(keys) <= count:
        return keys
    return tuple(keys[i] for i in np.linspace(0, len(keys) - 1, count).astype(int))


def _clips(dataset: Dataset, keys: tuple[str, ...], part: str, progress: Progress) -> list[Clip]:
    task = progress.add_task(f"reading {part}", total=len(keys))
    found = list(dataset.clips(keys, lambda done, total, key: progress.update(task, completed=done)))
    progress.update(task, completed=len(keys))
    return found
