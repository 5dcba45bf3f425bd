"""Which files are songs by their names, in any case, and which of several belongs to a motion."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from choreo.music.limits import FORMATS

SUFFIXES: Final = (
    ".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".m4a", ".aac", ".opus", ".oga", ".wma", ".webm",
)  # fmt: skip
"""Of several songs of one name, the first suffix is used."""
_OTHER_AUDIO: Final = frozenset(
    {".ac3", ".aifc", ".alac", ".amr", ".ape", ".au", ".caf", ".dsf", ".dts", ".m4b", ".mid", ".midi", ".mka", ".mp2",
     ".mpc", ".ra", ".snd", ".spx", ".tta", ".w64", ".wave", ".wv"}
)  # fmt: skip


@dataclass(frozen=True)
class SongsOfStem:
    """The audio files of one name.

    Attributes:
        song: the one to use; None if there is none of an accepted format.
        notes: sentences on those that are not used.
    """

    song: Path | None = None
    notes: tuple[str, ...] = ()


NO_SONGS: Final = SongsOfStem()


def songs_by_stem(paths: Iterable[Path]) -> dict[str, SongsOfStem]:
    """The audio files among paths, by their names without suffix; of equal names, earlier paths go first."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        if path.suffix.lower() in SUFFIXES or path.suffix.lower() in _OTHER_AUDIO:
            found[path.stem].append(path)
    return {stem: _chosen(files) for stem, files in found.items()}


def songs_in(folder: Path) -> dict[str, SongsOfStem]:
    """`songs_by_stem` of the regular files in a folder; none where it cannot be read."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return {}
    return songs_by_stem(path for path in paths if path.suffix and path.is_file())


def _chosen(files: list[Path]) -> SongsOfStem:
    accepted = sorted(
        (p for p in files if p.suffix.lower() in SUFFIXES), key=lambda p: SUFFIXES.index(p.suffix.lower())
    )
    song = accepted[0] if accepted else None
    notes = [f"{path.name} is not used: {accepted[0].name} is its song" for path in accepted[1:]]
    notes += [f"{path.name} is not used: songs are {FORMATS}" for path in files if path not in accepted]
    return SongsOfStem(song, tuple(notes))
