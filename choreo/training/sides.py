"""The sides of a data set that training uses, read from disk, and what clips must be to be trained on."""

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
from choreo.motion.representation import CHANNELS
from choreo.music.beats import RHYTHM_CHANNELS
from choreo.music.encoders import DSP35, MusicEncoder

log = logging.getLogger(__name__)

TRAINING, HELD_OUT = "train", "val"
"""Sides of a split; one for tests, where a data set has one, is left alone."""
SHOWN: Final = 3
"""Reasons that are told of what was skipped; the rest is in the run's `data.json`."""


@dataclass(frozen=True)
class Sides:
    """Clips to train on and clips to validate on.

    Attributes:
        training: in the data set's order.
        held_out: likewise.
        skipped: what of the data set was not loaded, and why.
        origin: which data set, and where its split is from.
    """

    training: list[Clip]
    held_out: list[Clip]
    skipped: tuple[Skipped, ...] = ()
    origin: str = "none"


def read_sides(root: Path, most: int | None = None, encoder: MusicEncoder = DSP35) -> Sides:
    """Both sides of the data set in a folder; shows its progress on stderr, and says what it skips.

    Args:
        root: of the data set.
        most: recordings that are read of each side, spread evenly over it; None: all.
        encoder: of the music.

    Raises:
        InvalidInput: not a data set, or a side of it on which nothing can be used.
    """
    dataset = open_dataset(root, encoder)
    split = dataset.split()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        training, held_out = (
            _clips(dataset, _some(split.sides.get(s, ()), most), s, progress) for s in (TRAINING, HELD_OUT)
        )
    skipped = tuple(dataset.skipped)
    reasons = "; ".join([f"{s.name} {s.reason}" for s in skipped[:SHOWN]] + ["..."] * (len(skipped) > SHOWN))
    if skipped:
        log.warning("%d parts of %s were skipped: %s", len(skipped), root, reasons)
    for side, clips in ((TRAINING, training), (HELD_OUT, held_out)):
        if not clips:
            raise InvalidInput(
                "data", f"nothing on the side {side!r} of {root} can be used: {reasons or 'it is empty'}"
            )
    return Sides(training, held_out, skipped, f"{dataset.name}, {split.origin} split")


def check_clips(clips: Sequence[Clip], music_dim: int | None = None) -> None:
    """Refuse clips whose arrays do not belong together.

    Args:
        clips: to train on or to validate on.
        music_dim: width of music features that the model takes; None where music does not matter.

    Raises:
        InvalidInput: features, heading, rhythm or music of another length or width, NaN or infinity, or no clip that is
            long enough for a window.
    """
    for clip in clips:
        shapes = {
            "features": (clip.features, (CHANNELS,)),
            "heading": (clip.heading, ()),
            "rhythm": (clip.rhythm, (RHYTHM_CHANNELS,)),
        }
        if clip.music is not None and music_dim is not None:
            if clip.music.ndim == 2 and clip.music.shape[1] != music_dim:
                raise InvalidInput(
                    "conditioner.music_dim",
                    f"is {music_dim}, but the music features of {clip.key} have {clip.music.shape[1]} columns",
                )
            shapes["music"] = (clip.music, (music_dim,))
        for name, (values, width) in shapes.items():
            expected = (clip.num_frames, *width)
            if values.shape != expected:
                raise InvalidInput(clip.key, f"has {name} of shape {values.shape}, not {expected}")
            if not np.isfinite(values).all():
                raise InvalidInput(clip.key, f"has NaN or infinite {name}")
    shortest = WindowOptions().min_frames
    if clips and max(clip.num_frames for clip in clips) < shortest:
        raise InvalidInput("data", f"has a side without any clip of {shortest} frames, the shortest window")


def _some(keys: tuple[str, ...], most: int | None) -> tuple[str, ...]:
    if most is None or len(keys) <= most:
        return keys
    return tuple(keys[i] for i in np.linspace(0, len(keys) - 1, most).astype(int))


def _clips(dataset: Dataset, keys: tuple[str, ...], side: str, progress: Progress) -> list[Clip]:
    task = progress.add_task(f"reading {side}", total=len(keys))
    found = list(dataset.clips(keys, lambda done, total, key: progress.update(task, completed=done)))
    progress.update(task, completed=len(keys))
    return found
