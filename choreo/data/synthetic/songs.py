"""Songs with known beats, to pair motion with: synthesised songs, and repeated loops of stated tempo."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.skeleton import FPS
from choreo.music.audio import Audio, decode_audio
from choreo.music.encoders import DSP35, MusicEncoder
from choreo.music.synth import styles, synthesize_song

SECONDS: Final = 48.0
"""Length of a song; longer motion is paired in pieces."""
TEMPO_RANGE: Final = (70.0, 150.0)
"""Tempos outside, BPM, are halved or doubled into this range."""
HELD_OUT: Final = frozenset({"loop_breakbeat", "loop_tabla", "loop_mehackit1"})
"""Titles of the loops reserved for validation."""
HELD_OUT_SEED: Final = 10_000
"""Added to the seed of songs and dances for validation."""


@dataclass(frozen=True)
class BeatSong:
    """A song whose beats are known without tracking.

    Attributes:
        name: for provenance.
        features: (T, D) of a music encoder, 30 fps.
        onset: (T,) onset strength in 0..1.
        beats: (n,) seconds.
    """

    name: str
    features: NDArray[np.float32]
    onset: NDArray[np.float32]
    beats: NDArray[np.float64]

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
        samples, rate, beats = synthesize_song(round(float(tempo), 1), seconds, seed + i, style)
        yield _song(f"synth/{style}-{tempo:.0f}", Audio(samples, rate, seconds, ""), beats, encoder)


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
        yield _song(f"loop/{row['title']}", audio, np.arange(0, seconds, period), encoder)


def _song(name: str, audio: Audio, beats: NDArray[np.float64], encoder: MusicEncoder) -> BeatSong:
    encoded = encoder.encode(audio)
    known = beats[beats < encoded.num_frames / FPS].astype(np.float64)
    return BeatSong(name, encoded.features, encoded.onset, known)


def _folded(tempo: float) -> float:
    """The tempo, halved or doubled into `TEMPO_RANGE`."""
    low, high = TEMPO_RANGE
    while tempo > high:
        tempo /= 2
    while tempo < low:
        tempo *= 2
    return tempo
