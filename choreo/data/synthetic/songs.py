"""Songs with known beats, to pair motion with: synthesised songs, and repeated loops of stated tempo."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.skeleton import FPS
from choreo.music.audio import Audio, decode_audio
from choreo.music.encoders import DSP35, MusicEncoder
from choreo.music.features import with_beats
from choreo.music.synth import Style, styles, synthesize_song

SECONDS: Final = 48.0
"""Length of a song; longer motion is paired in pieces."""
TEMPO_RANGE: Final = (70.0, 150.0)
"""Tempos outside, BPM, are halved or doubled into this range."""
HELD_OUT: Final = frozenset({"loop_breakbeat", "loop_tabla", "loop_mehackit1"})
"""Titles of the loops reserved for validation."""
HELD_OUT_TRACKS: Final = frozenset({"synth_ballet_waltz_108", "synth_hiphop_92", "synth_samba_102"})
"""Names of the tracks reserved for validation."""
HELD_OUT_SEED: Final = 10_000
"""Added to the seed of songs and dances for validation."""


@dataclass(frozen=True)
class SongTerms:
    """Where a recording comes from.

    Attributes:
        source: address or description of its source.
        author: who made it.
        licence: tag of its terms.
    """

    source: str
    author: str
    licence: str


@dataclass(frozen=True)
class BeatSong:
    """A song whose beats are known without tracking.

    Attributes:
        name: for provenance.
        features: (T, D) of a music encoder, 30 fps.
        onset: (T,) onset strength in 0..1.
        beats: (n,) seconds.
        downbeats: those of them that begin a bar, empty where bars are not known.
        terms: of its recording; None for a song that was synthesised.
    """

    name: str
    features: NDArray[np.float32]
    onset: NDArray[np.float32]
    beats: NDArray[np.float64]
    downbeats: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    terms: SongTerms | None = None

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.features)


def synthesized_songs(
    count: int, seed: int = 0, seconds: float = SECONDS, encoder: MusicEncoder = DSP35
) -> Iterator[BeatSong]:
    """`count` songs in all styles, with tempos spread evenly over `TEMPO_RANGE`."""
    names = sorted(styles())
    for i, tempo in enumerate(np.linspace(*TEMPO_RANGE, count)):
        style = names[i % len(names)]
        yield song_in_style(style, styles()[style], round(float(tempo), 1), seconds, seed + i, encoder)


def song_in_style(
    name: str, style: Style, tempo: float, seconds: float = SECONDS, seed: int = 0, encoder: MusicEncoder = DSP35
) -> BeatSong:
    """A synthesised song in one style; its name gets the tempo."""
    samples, rate, beats = synthesize_song(tempo, seconds, seed, style)
    audio = Audio(samples, rate, seconds, "")
    return _song(f"synth/{name}-{tempo:.0f}", audio, beats, encoder, beats[:: style.beats_per_bar])


def loops(
    folder: Path, held_out: bool = False, seconds: float = SECONDS, encoder: MusicEncoder = DSP35
) -> Iterator[BeatSong]:
    """The loops of a folder whose `LICENSES.csv` states their tempo, each repeated to `seconds`.

    A loop begins on a beat and contains a whole number of beats, or it would not loop.

    Args:
        folder: of the loops; without a `LICENSES.csv` it has none.
        held_out: whether those of `HELD_OUT` are wanted, or the others.
        seconds: length of each song.
    """
    table = folder / "LICENSES.csv"
    if not table.is_file():
        return
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["known_bpm"] and "loop" in row["title"].lower()]
    rows = [row for row in rows if (row["title"] in HELD_OUT) == held_out]
    for row in rows:
        loop = decode_audio(folder / row["file"], sample_rate=encoder.sample_rate)
        count = max(1, round(loop.seconds * _folded(float(row["known_bpm"])) / 60))
        period = loop.seconds / count
        repeats = int(np.ceil(seconds / loop.seconds))
        samples = np.tile(loop.samples, repeats)[: round(seconds * loop.sample_rate)]
        audio = Audio(samples, loop.sample_rate, seconds, "")
        yield _song(f"loop/{row['title']}", audio, np.arange(0, seconds, period), encoder, terms=_terms(row))


def tracks(
    folder: Path, held_out: bool = False, seconds: float = SECONDS, encoder: MusicEncoder = DSP35
) -> Iterator[BeatSong]:
    """The tracks of a folder whose `beats.csv` has every beat and its number in the bar.

    Args:
        folder: of the tracks; without a `beats.csv` it has none.
        held_out: whether those of `HELD_OUT_TRACKS` are wanted, or the others.
        seconds: longer tracks are cut.
        encoder: of their features.

    Raises:
        InvalidInput: `beats.csv` or `LICENSES.csv` is damaged, or a track is not audio.
    """
    table = folder / "beats.csv"
    if not table.is_file():
        return
    grids, about = _grids(table), {row["file"]: row for row in _rows(folder / "LICENSES.csv")}
    for file, (beats, numbers) in grids.items():
        title = Path(file).stem
        if (title in HELD_OUT_TRACKS) != held_out:
            continue
        if file not in about:
            raise InvalidInput("LICENSES.csv", f"has no line for {file[:64]}, which beats.csv names")
        whole = decode_audio(folder / file, field=file, sample_rate=encoder.sample_rate)
        samples = whole.samples[: round(seconds * whole.sample_rate)]
        audio = Audio(samples, whole.sample_rate, min(whole.seconds, seconds), whole.sha256)
        yield _song(f"track/{title}", audio, beats, encoder, beats[numbers == 1], _terms(about[file]))


def _grids(table: Path) -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Beats in seconds and their numbers in the bar, both (n,), by file."""
    found: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for row in _rows(table):
        try:
            file, time, number = row["file"], float(row["beat_s"]), int(row["beat_in_bar"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(table.name, f"is not a table of beats: {error!r}") from error
        if Path(file).name != file:
            raise InvalidInput(table.name, f"must name files of its folder, got {file[:64]!r}")
        if not 0 <= time < float("inf") or number < 1 or (found[file] and time <= found[file][-1][0]):
            raise InvalidInput(table.name, f"has beats of {file[:64]} that are not ascending seconds, at {time:g}")
        found[file].append((time, number))
    return {file: (np.array([t for t, _ in rows]), np.array([n for _, n in rows])) for file, rows in found.items()}


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(table.name, f"cannot be read: {error}") from error


def _terms(row: dict[str, str]) -> SongTerms:
    return SongTerms(row.get("source") or "", row.get("author") or "", row.get("licence") or "")


def _song(
    name: str,
    audio: Audio,
    beats: NDArray[np.float64],
    encoder: MusicEncoder,
    downbeats: NDArray[np.float64] | None = None,
    terms: SongTerms | None = None,
) -> BeatSong:
    """A song with the beats that are known, those of its features among them."""
    encoded = encoder.encode(audio)
    end = encoded.num_frames / FPS
    known = beats[beats < end].astype(np.float64)
    bars = np.zeros(0) if downbeats is None else downbeats[downbeats < end].astype(np.float64)
    return BeatSong(name, with_beats(encoded.features, known), encoded.onset, known, bars, terms)


def _folded(tempo: float) -> float:
    """The tempo, halved or doubled into `TEMPO_RANGE`."""
    low, high = TEMPO_RANGE
    while tempo > high:
        tempo /= 2
    while tempo < low:
        tempo *= 2
    return tempo
