"""The training and validation clips of a data set, read from disk, and what is required of clips."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import Progress

from choreo.data.clip import Clip
from choreo.data.datasets import Dataset, open_dataset
from choreo.data.layouts.recording import Skipped
from choreo.data.splits.one_take import piece
from choreo.data.splits.split import HELD_OUT, TRAINING, Split
from choreo.data.windows.windows import WindowOptions
from choreo.errors import InvalidInput
from choreo.motion.skeleton import FPS
from choreo.motion.upright import AUTO
from choreo.music.beats import RHYTHM_CHANNELS
from choreo.music.encoders import DSP35, MusicEncoder

log = logging.getLogger(__name__)

ORIGINS: Final = MappingProxyType(
    {"published": "published split", "hash": "hash split", "cut": "one song or take, cut in time"}
)
"""How a run's `data.json` names where a split comes from."""
MAX_REASONS: Final = 3
"""Reasons in a message about what was skipped; a run's `data.json` has all."""


@dataclass(frozen=True)
class Splits:
    """Clips to train on and clips to validate on.

    Attributes:
        training: in the data set's order.
        held_out: in the data set's order.
        skipped: what was not loaded, and why.
        notes: what of the clips was guessed, estimated or changed.
        origin: name of the data set, and where its split comes from.
    """

    training: list[Clip]
    held_out: list[Clip]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[Skipped, ...] = ()
    origin: str = "none"


def read_splits(
    root: Path,
    max_recordings: int | None = None,
    encoder: MusicEncoder = DSP35,
    up: str = AUTO,
    held_out: str = HELD_OUT,
) -> Splits:
    """The training and held-out clips of the data set in a folder; progress, notes and what is skipped go to stderr.

    Where a data set publishes no split and nothing of one side can be used, what can be used is divided again.

    Args:
        root: of the data set.
        max_recordings: recordings to read of each, spread evenly; None: all.
        encoder: of the music.
        up: the axis that points up in its motion, see `choreo.motion.upright.find_up`.
        held_out: part that is held out: `val`, or `test` for final figures.

    Raises:
        InvalidInput: not a data set, no such axis, or nothing usable in one of the two.
    """
    dataset = open_dataset(root, encoder, up)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        reader = _Reader(dataset, max_recordings, progress)
        split = dataset.split()
        parts = (TRAINING, held_out)
        sides = reader.sides(split, parts)
        while not all(sides.values()) and split.origin != "published" and len(reader.unusable) < len(dataset):
            split = dataset.split(without=reader.unusable)
            sides = reader.sides(split, parts)
    skipped, notes = reader.skipped, tuple(dataset.notes)
    reasons = _shown(skipped)
    if skipped:
        log.warning("%d parts of %s were skipped: %s", len(skipped), root, reasons)
    if notes:
        log.warning("%d notes on %s: %s", len(notes), root, _shown(notes))
    for part, clips in sides.items():
        if not clips:
            seconds = WindowOptions().min_frames / FPS
            raise InvalidInput(
                "data",
                f"nothing in the split {part!r} of {root} can be used: {reasons or 'it is empty'}; add recordings of "
                f"another song or take, of {seconds:g} s or more",
            )
    if split.cut:
        log.warning("%s holds one song or take; its end is held out, so scores say little about other dances", root)
    return Splits(sides[TRAINING], sides[held_out], skipped, notes, f"{dataset.name}, {ORIGINS[split.origin]}")


def _shown(remarks: Sequence[Skipped]) -> str:
    """The first of some remarks, for a message."""
    shown = [f"{s.name} {s.reason}" for s in remarks[:MAX_REASONS]]
    return "; ".join(shown + ["..."] * (len(remarks) > MAX_REASONS))


class _Reader:
    """Reads the sides of one split after another, and each recording once.

    Attributes:
        unusable: keys of recordings without a window's length of motion.
    """

    def __init__(self, dataset: Dataset, max_recordings: int | None, progress: Progress) -> None:
        self._dataset, self._max, self._progress = dataset, max_recordings, progress
        self._read: dict[str, Clip | None] = {}
        self._short: dict[str, Skipped] = {}
        self.unusable: set[str] = set()

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was not loaded or is too short, and why."""
        return (*self._dataset.skipped, *self._short.values())

    def sides(self, split: Split, parts: Sequence[str]) -> dict[str, list[Clip]]:
        """Clips by part; none of a part whose clips are all too short for a window."""
        return {part: self._side(split, part) for part in parts}

    def _side(self, split: Split, part: str) -> list[Clip]:
        keys = _spread(split.parts.get(part, ()), self._max)
        task = self._progress.add_task(f"reading {part}", total=len(keys))
        found = []
        for done, key in enumerate(keys):
            self._progress.update(task, completed=done)
            clip = self._clip(split, part, key)
            found += [] if clip is None else [clip]
        self._progress.update(task, completed=len(keys))
        shortest = WindowOptions().min_frames
        if any(clip.num_frames >= shortest for clip in found):
            return found
        for clip in found:
            reason = f"has {clip.num_frames} frames, and the shortest window {shortest}"
            self._short[clip.key] = Skipped(clip.key, reason)
        self.unusable.update(keys)
        return []

    def _clip(self, split: Split, part: str, key: str) -> Clip | None:
        if key not in self._read:
            self._read[key] = next(self._dataset.clips((key,)), None)
        clip = self._read[key]
        try:
            return None if clip is None else piece(split, part, clip)
        except InvalidInput as error:
            self._short[key] = Skipped(key, str(error).removeprefix(f"{key}: "))
            return None


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
    shortest, longest = WindowOptions().min_frames, max((clip.num_frames for clip in clips), default=0)
    if clips and longest < shortest:
        raise InvalidInput(
            "data",
            f"has a side of the split whose longest clip has {longest} frames at {FPS} fps, and the shortest window "
            f"{shortest}: add longer recordings, or turn purge off if the recipe has it on",
        )


def _spread(keys: tuple[str, ...], count: int | None) -> tuple[str, ...]:
    """At most `count` keys, spread evenly."""
    if count is None or len(keys) <= count:
        return keys
    return tuple(keys[i] for i in np.linspace(0, len(keys) - 1, count).astype(int))
