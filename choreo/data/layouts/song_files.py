"""Audio files of a data set; the features of each song are computed once."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from choreo.data.layouts.listing import regular_files
from choreo.data.layouts.recording import Song
from choreo.music.audio import decode_audio
from choreo.music.encoders import Dsp35Encoder

SUFFIXES: Final = (".wav", ".flac", ".mp3", ".ogg")
MAX_CACHED: Final = 64
"""Songs whose features stay in memory; AIST++ has 60."""


class SongFiles:
    """Audio files of some folders, found by name; folders that do not exist are ignored."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._files: dict[str, Path] = {}
        for folder in folders:
            for path in regular_files(folder, "*"):
                if path.suffix.lower() in SUFFIXES:
                    self._files.setdefault(path.stem, path)
        self._songs: OrderedDict[Path, Song] = OrderedDict()

    def song(self, *names: str) -> Song | None:
        """Features and tracked beats of the first name that has a file, or None.

        Raises:
            InvalidInput: the file cannot be read as audio.
        """
        path = next((self._files[name] for name in names if name in self._files), None)
        if path is None:
            return None
        if path not in self._songs:
            encoded = Dsp35Encoder().encode(decode_audio(path, field=path.name))
            self._songs[path] = Song(encoded.features, encoded.beats)
        self._songs.move_to_end(path)
        if len(self._songs) > MAX_CACHED:
            self._songs.popitem(last=False)
        return self._songs[path]
