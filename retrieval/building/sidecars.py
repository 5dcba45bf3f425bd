"""Sidecar files of motion files: a song, captions, metadata, and one table for a whole folder.

`dance.npz` may come with `dance.ogg` (or another song, `choreo.music.song_names`), `dance.txt` (a caption; further
lines are alternatives) and `dance.meta.json` (`caption`, `genre`, `style`, `licence`, `beats`, `audio_offset`).
`phrases.csv` in the folder that is read has the columns file, caption, genre, style, licence. A file's own metadata
override the table, and the table overrides the options of the build.

A caption, beat or song that cannot be used is left out with a note. If the metadata cannot be read the recording is
skipped, because they may hold its licence.
"""

import csv
import io
import json
import stat
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.skeleton import FPS
from choreo.music.encoders import DSP35
from choreo.music.isolated import decode_audio_isolated
from choreo.music.limits import MAX_SECONDS
from choreo.music.song_names import SongsOfStem
from choreo.text.prompts import check_text

META: Final = ".meta.json"
TABLE: Final = "phrases.csv"
MAX_TAG_CHARS: Final = 64
MAX_TEXT_BYTES: Final = 64 * 1024
MAX_META_BYTES: Final = 4 * 2**20
MAX_TABLE_BYTES: Final = 256 * 2**20
MAX_BEATS: Final = 50_000
MAX_SENTENCES: Final = 16


@dataclass(frozen=True)
class Tags:
    """Descriptions of a recording; empty if unknown."""

    caption: str = ""
    genre: str = ""
    style: str = ""
    licence: str = ""

    def over(self, others: "Tags") -> "Tags":
        """These tags, completed by the others'."""
        return Tags(*(getattr(self, f.name) or getattr(others, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Meta:
    """Content of a metadata file.

    Attributes:
        tags: of the recording.
        beats: (n,) seconds from the first frame; None without beats.
        audio_offset: start of the motion within the song, seconds.
    """

    tags: Tags = Tags()
    beats: NDArray[np.float64] | None = None
    audio_offset: float = 0.0


@dataclass(frozen=True)
class Song:
    """Features (N, 35) of a song and its beats in seconds, both from the motion's first frame on."""

    features: NDArray[np.float32] | None = None
    beats: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


def check_tag(value: object, name: str) -> str:
    """A genre, style or licence without surrounding white space; may be empty.

    Raises:
        InvalidInput: not text, longer than 64 characters, or with control characters.
    """
    if value is None or (isinstance(value, str) and len(value) <= MAX_TAG_CHARS and not value.strip()):
        return ""
    return check_text(value, name, MAX_TAG_CHARS)


def read_meta(path: Path, seconds: float, notes: list[str]) -> Meta:
    """Metadata of a motion of `seconds` duration; the defaults without such a file. Adds what is unusable to `notes`.

    Raises:
        InvalidInput: not a JSON object, a malformed tag, or an offset outside the song.
    """
    data = _content(path, MAX_META_BYTES)
    if data is None:
        return Meta()
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("meta.json", "is not JSON") from error
    if not isinstance(values, dict):
        raise InvalidInput("meta.json", "must be a JSON object")
    tags = _tags(values)
    caption = _sentence(values["caption"], notes) if values.get("caption") else ""
    offset = values.get("audio_offset", 0.0)
    if isinstance(offset, bool) or not isinstance(offset, int | float) or not 0 <= offset <= MAX_SECONDS:
        raise InvalidInput("audio_offset", f"must be between 0 and {MAX_SECONDS:g} seconds into the song")
    beats = _beats(values["beats"], seconds, notes) if "beats" in values else None
    return Meta(Tags(caption, **tags), beats, float(offset))


def read_captions(path: Path, notes: list[str]) -> list[str]:
    """Captions, one per line; none without such a file. Adds what is unusable to `notes`."""
    try:
        data = _content(path, MAX_TEXT_BYTES)
    except InvalidInput as error:
        notes.append(f"caption left out: {error}")
        return []
    lines = [line for line in (data or b"").decode("utf-8-sig", "replace").split("\n") if line.strip()]
    return [text for line in lines[:MAX_SENTENCES] if (text := _sentence(line, notes))]


def read_table(root: Path) -> dict[str, Tags]:
    """Tags by file from the table of a folder; empty without a table.

    Raises:
        InvalidInput: not a table with a column `file`, too large, or a malformed tag; the message names the line.
    """
    data = _content(root / TABLE, MAX_TABLE_BYTES)
    if data is None:
        return {}
    out: dict[str, Tags] = {}
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        if "file" not in (reader.fieldnames or ()):
            raise InvalidInput(TABLE, "must have a column `file`, and may have caption, genre, style and licence")
        for row in reader:
            out[str(row["file"]).replace("\\", "/").removeprefix("./")] = _row_tags(row, reader.line_num)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidInput(TABLE, f"is not a table in UTF-8: {error}") from error
    return out


def read_song(songs: SongsOfStem, offset: float, notes: list[str]) -> Song:
    """The song of a motion that starts `offset` seconds into it; empty, with a note, if it cannot be used.

    Args:
        songs: the audio files of the motion's name.
        offset: seconds.
        notes: what is said of files that are not used, and of the song, is added here.
    """
    notes += songs.notes
    if songs.song is None:
        return Song()
    try:
        audio = decode_audio_isolated(songs.song, field=songs.song.suffix, sample_rate=DSP35.sample_rate)
        song = DSP35.encode(audio)
    except (InvalidInput, OSError) as error:
        notes.append(f"built without its music: {error}")
        return Song()
    if songs.song.suffix != songs.song.suffix.lower():  # other programs tell suffixes apart by case
        notes.append(f"{songs.song.name} is its song")
    notes += [f"{songs.song.name}: {note}" for note in audio.notes]
    first = round(offset * FPS)
    if first >= song.num_frames:
        notes.append(f"built without its music, which is over after {song.num_frames / FPS:.1f} s")
        return Song()
    beats = song.beats - first / FPS
    return Song(song.features[first:], beats[beats >= 0])


def _tags(values: dict[str, Any]) -> dict[str, str]:
    return {name: check_tag(values.get(name), name) for name in ("genre", "style", "licence")}


def _row_tags(row: dict[str, Any], line: int) -> Tags:
    try:
        caption = row.get("caption") or ""
        return Tags(check_text(caption, "caption") if caption.strip() else "", **_tags(row))
    except InvalidInput as error:
        raise InvalidInput(TABLE, f"line {line}: {error}") from error


def _sentence(value: object, notes: list[str]) -> str:
    try:
        return check_text(value, "caption")
    except InvalidInput as error:
        notes.append(f"caption left out: {error.message}")
        return ""


def _beats(value: object, seconds: float, notes: list[str]) -> NDArray[np.float64] | None:
    """Beat times within the motion; None, with a note, if they are malformed."""
    try:
        beats = np.asarray(value, np.float64)
    except (ValueError, TypeError, OverflowError):
        beats = np.full(1, np.nan)
    if beats.ndim != 1 or len(beats) > MAX_BEATS or not np.isfinite(beats).all():
        notes.append(f"beats left out: must be a list of at most {MAX_BEATS} seconds")
        return None
    return beats[(beats >= 0) & (beats <= seconds)]


def _content(path: Path, limit: int) -> bytes | None:
    """Bytes of a file; None without a file.

    Raises:
        InvalidInput: larger than `limit` bytes, or not a readable regular file.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidInput(path.name, "is not a regular file")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInput(path.name, f"cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise InvalidInput(path.name, f"is larger than {limit // 1024} KiB")
    return data
