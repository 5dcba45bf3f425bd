"""Opening any data set: its layout is recognised, clips are read one at a time, bad files are listed."""

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from choreo.data.clip import Clip
from choreo.data.layouts.aist import Aist
from choreo.data.layouts.amass import Amass
from choreo.data.layouts.cmu_bvh import CmuBvh
from choreo.data.layouts.couples import Couples
from choreo.data.layouts.humanml3d import HumanML3D
from choreo.data.layouts.packs import DataPack, group_of
from choreo.data.layouts.plain_npz import PlainNpz
from choreo.data.layouts.recording import Recording, Skipped, Song, prepared, to_clip
from choreo.data.layouts.song_files import SongFiles, no_features
from choreo.data.splits.split import HELD_OUT, TEST, TRAINING, Split, hashed_split, published_split
from choreo.errors import InvalidInput
from choreo.motion.upright import AUTO, check_up
from choreo.music.encoders import DSP35, MusicEncoder

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""Called before each clip with the number done, the total, and the clip's key."""


class Layout(Protocol):
    """A data set on disk; its constructor lists the files of a folder and reads no motion.

    Attributes:
        name: of the layout.
        keys: of the recordings, in order.
        published: the data set's own split, part to keys; empty where it has none.
        skipped: files that the listing alone rules out.
    """

    name: str
    keys: tuple[str, ...]
    published: dict[str, tuple[str, ...]]
    skipped: list[Skipped]

    def group_of(self, key: str) -> str:
        """Song or take of a recording."""

    def recording(self, key: str) -> Recording:
        """Read one recording.

        Raises:
            InvalidInput: it cannot be used.
            OSError: it cannot be read.
        """


class _Pack:
    """`choreo.data.layouts.packs.DataPack` as a layout."""

    name = "data-pack"

    def __init__(self, root: Path, encoder: MusicEncoder = DSP35) -> None:
        self._pack = DataPack(root)
        self._encoder, self._songs = encoder, SongFiles([root / "music"], encoder)
        self.keys = tuple(self._pack.keys)
        parts: dict[str, list[str]] = {TRAINING: [], HELD_OUT: [], TEST: []}
        for key in self.keys:
            parts[self._pack.part_of(key)].append(key)
        self.published = {part: tuple(keys) for part, keys in parts.items()}
        self.skipped = self._pack.skipped

    @staticmethod
    def recognised(root: Path) -> bool:
        return DataPack.recognised(root)

    def group_of(self, key: str) -> str:
        return group_of(key)

    def recording(self, key: str) -> Recording:
        recording = self._pack.recording(key).as_recording()
        if recording.song is None or self._encoder.name == DSP35.name:
            return recording
        song = self._songs.song(key)
        if song is None:
            return replace(recording, song=None, remarks=(no_features(key, self._encoder.name),))
        frames = min(len(song.features), len(recording.song.onset))
        own = recording.song
        return replace(recording, song=Song(song.features[:frames], own.beats, own.onset[:frames], own.downbeats))


LAYOUTS: Final = (_Pack, Aist, HumanML3D, CmuBvh, Couples, Amass, PlainNpz)
"""In the order in which they are tried."""
_WITH_MUSIC: Final = (_Pack, Aist, PlainNpz)
"""Layouts that may hold music."""


class Dataset:
    """Clips of a folder, read on demand.

    Attributes:
        skipped: what was not loaded, and why; grows as clips are read.
        notes: what of the clips was guessed, estimated or changed; grows as they are read.
    """

    def __init__(self, layout: Layout, up: str = AUTO) -> None:
        self._layout, self._up = layout, up
        self.skipped: list[Skipped] = list(layout.skipped)
        self.notes: list[Skipped] = []

    @property
    def name(self) -> str:
        """Name of the layout."""
        return self._layout.name

    @property
    def keys(self) -> tuple[str, ...]:
        """Every recording, loadable or not."""
        return self._layout.keys

    def group_of(self, key: str) -> str:
        """Song or take of a recording; splits keep groups together."""
        return self._layout.group_of(key)

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Clip]:
        return self.clips()

    def clips(self, keys: tuple[str, ...] | None = None, progress: Progress | None = None) -> Iterator[Clip]:
        """Clips of the given recordings, or of all, in order; those that cannot be used are added to `skipped`."""
        wanted = self.keys if keys is None else keys
        for done, key in enumerate(wanted):
            if progress is not None:
                progress(done, len(wanted), key)
            clip = self._clip(key)
            if clip is not None:
                yield clip

    def split(self, seed: int = 0, without: Collection[str] = ()) -> Split:
        """The published split, or one by a hash of the groups where the data set has none.

        Args:
            seed: another one gives another split by hash.
            without: keys of recordings that are in no part.

        Raises:
            InvalidInput: there is nothing to train on or to validate on.
        """
        groups = {key: self.group_of(key) for key in self.keys if key not in without}
        if not self._layout.published:
            return hashed_split(groups, seed=seed)
        split = published_split(self._layout.published, groups)
        if split.origin != "published":
            log.warning("one side of the published split has no recording here; both are divided anew")
        return split

    def _clip(self, key: str) -> Clip | None:
        try:
            recording = prepared(self._layout.recording(key), self._up)
            clip = to_clip(recording)
        except InvalidInput as error:
            self._skip(key, str(error).removeprefix(f"{key}: "))
            return None
        except (OSError, np.linalg.LinAlgError) as error:
            self._skip(key, f"cannot be read: {error}")
            return None
        for remark in recording.remarks:
            self._skip(key, remark)
        self.notes += [note for text in recording.notes if (note := Skipped(key, text)) not in self.notes]
        return clip

    def _skip(self, key: str, reason: str) -> None:
        skipped = Skipped(key, reason)
        if skipped not in self.skipped:
            self.skipped.append(skipped)


def open_dataset(root: Path, encoder: MusicEncoder = DSP35, up: str = AUTO) -> Dataset:
    """Recognise the layout of a folder and list it.

    Args:
        root: of the data set.
        encoder: whose features the music of the clips has: those in a file next to it, or computed from it.
        up: the axis that points up in its motion, see `choreo.motion.upright.find_up`.

    Raises:
        InvalidInput: no such folder or axis, no known layout, or nothing in it can be loaded.
    """
    up = check_up(up)
    if not root.is_dir():
        raise InvalidInput("data", f"{root} is not a folder")
    layout = next((layout for layout in LAYOUTS if layout.recognised(root)), None)
    if layout is None:
        known = ", ".join(layout.name for layout in LAYOUTS)
        raise InvalidInput("data", f"{root} has none of the known layouts ({known})")
    options: dict[str, Any] = {"encoder": encoder} if layout in _WITH_MUSIC else {"up": up} if layout is CmuBvh else {}
    opened: Layout = layout(root, **options)
    if not opened.keys:
        reasons = "; ".join(f"{s.name} {s.reason}" for s in opened.skipped[:3])
        raise InvalidInput("data", f"{root} is {opened.name}, but nothing in it can be loaded: {reasons}")
    return Dataset(opened, up)
