"""Songs next to the motion of a data set: audio files, or features computed elsewhere, by one music encoder.

Next to `<name>.wav` (or another song, `choreo.music.song_names`), or in its place, `<name>.<encoder>.npy` may hold its
features, for example `<name>.jukebox.npy` (T, 4800) at 30 fps. Beats and onsets are those of the audio, else of
`<name>.dsp35.npy`.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from choreo.data.layouts.listing import regular_files
from choreo.data.layouts.recording import Song
from choreo.music.audio import decode_audio
from choreo.music.encoded import MusicFeatures, load_features, precomputed, with_rhythm
from choreo.music.encoders import DSP35, MusicEncoder
from choreo.music.song_names import NO_SONGS, SongsOfStem, songs_in

MAX_CACHED: Final = 64
"""Songs whose features stay in memory; AIST++ has 60."""


def features_suffix(encoder: str) -> str:
    """How the names of files with features of an encoder end."""
    return f".{encoder}.npy"


class SongFiles:
    """Songs in some folders, found by name; folders that do not exist hold none.

    Args:
        folders: the first that has a file of a name wins.
        encoder: what computes features of audio files that have none next to them.
    """

    def __init__(self, folders: Sequence[Path], encoder: MusicEncoder = DSP35) -> None:
        self._encoder = encoder
        self._features: dict[str, Path] = {}
        self._rhythm: dict[str, Path] = {}
        self._audio: dict[str, SongsOfStem] = {}
        self._notes: dict[str, tuple[str, ...]] = {}
        by_suffix = {features_suffix(DSP35.name): self._rhythm, features_suffix(encoder.name): self._features}
        for folder in folders:
            for name, songs in songs_in(folder).items():
                if self._audio.get(name, NO_SONGS).song is None:
                    self._audio[name] = songs
            for path in regular_files(folder, "*.npy"):
                for suffix, found in by_suffix.items():
                    if path.name.lower().endswith(suffix):
                        found.setdefault(path.name[: -len(suffix)], path)
        self._songs: OrderedDict[str, Song] = OrderedDict()

    def song(self, *names: str) -> Song | None:
        """Features, beats and onsets of the first of the names that there is a file for.

        Raises:
            InvalidInput: a file is not audio, or not features of this encoder.
            MissingDependency: features must be computed, and the encoder is not on this machine.
        """
        name = next((name for name in names if name in self._features or self._song_of(name) is not None), None)
        if name is None:
            return None
        if name not in self._songs:
            encoded = self._encoded(name)
            self._songs[name] = Song(encoded.features, encoded.beats, encoded.onset, encoded.downbeats)
        self._songs.move_to_end(name)
        if len(self._songs) > MAX_CACHED:
            self._songs.popitem(last=False)
        return self._songs[name]

    def remarks(self, *names: str) -> tuple[str, ...]:
        """What to say of music under these names: files that are not used, and songs that are not whole.

        Songs are known to be whole or not once `song` was asked for them.
        """
        remarks: list[str] = []
        for name in names:
            remarks += (*self._audio.get(name, NO_SONGS).notes, *self._notes.get(name, ()))
            if name in self._rhythm and name not in self._features and self._song_of(name) is None:
                remarks.append(no_features(name, self._encoder.name))
        return tuple(remarks)

    def _song_of(self, name: str) -> Path | None:
        return self._audio.get(name, NO_SONGS).song

    def _encoded(self, name: str) -> MusicFeatures:
        audio, features, rhythm = self._song_of(name), self._features.get(name), self._rhythm.get(name)
        decoded = None
        if audio is not None and (features is None or self._encoder.dim != DSP35.dim):
            decoded = decode_audio(audio, field=audio.name, sample_rate=self._encoder.sample_rate, mix="heard")
            self._notes[name] = tuple(f"{audio.name}: {note}" for note in decoded.notes)
        if features is not None:
            encoded = precomputed(
                load_features(features, features.name), features.name, self._encoder.dim, decoded, self._encoder.tracker
            )
        elif decoded is not None:
            return self._encoder.encode(decoded)
        if decoded is None and rhythm is not None:
            columns = precomputed(load_features(rhythm, rhythm.name), rhythm.name, DSP35.dim).features
            return with_rhythm(encoded.features, columns, encoded.encoder, encoded.digest)
        return encoded


def no_features(name: str, encoder: str) -> str:
    """The remark that a recording is used without its music, and what would change that."""
    return f"is used without its music, which has no {encoder} features: {name}{features_suffix(encoder)} is missing"
