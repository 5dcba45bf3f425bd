"""Beat trackers on songs whose beats or tempo are known: how much they hear, and what it costs.

`tracks` are programmed songs of the data set with every beat and bar known, `synthesiser` the songs of this program,
`loops` recordings of known tempo, repeated to 20 s. A beat is heard within 70 ms and a tempo within 4 %.
"""

import csv
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray

from bench.command import DATA, benchmark, quick
from bench.report import Row, skipped
from choreo.command_line import say
from choreo.errors import InvalidInput
from choreo.evaluation.beat_tracking import beat_f_measure, is_tempo_right
from choreo.music.audio import Audio, decode_audio
from choreo.music.beat_tracking.beats import BeatTracker, beat_tracker, usable_trackers
from choreo.music.synth import styles, synthesize_song

LOOP_S: Final = 20.0
TEMPI: Final = tuple(range(62, 174, 11))
RATE: Final = 44_100


@dataclass(frozen=True)
class Song:
    """A song and what is known of it.

    Attributes:
        group: `tracks`, `synthesiser` or `loops`.
        name: of the song.
        audio: the song.
        tempo: beats per minute.
        beats: seconds of all beats; None where only the tempo is known.
        downbeats: seconds of the first beats of bars; None where they are not known.
    """

    group: str
    name: str
    audio: Audio
    tempo: float
    beats: NDArray[np.float64] | None = None
    downbeats: NDArray[np.float64] | None = None


@dataclass
class Score:
    """What one tracker heard of one song."""

    group: str
    tempo: bool
    beats: float | None
    downbeats: float | None
    cost: float


@benchmark
def main(
    data: Annotated[Path | None, DATA] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Tell every song.")] = False,
    quick: Annotated[bool, quick("two songs of the synthesiser")] = False,
) -> Iterator[Row]:
    """Rows by group of songs and tracker."""
    trackers: dict[str, BeatTracker] = {name: beat_tracker(name) for name in usable_trackers()}
    songs = list(synthesised((100, 120) if quick else TEMPI, ("house",) if quick else tuple(styles())))
    if data is None:
        yield skipped("tracks", "give --data")
    elif not quick:
        songs += [*tracks(data), *loops(data)]
    for tracker in trackers.values():
        tracker.track(songs[0].audio)  # what is loaded and compiled at the first call
    scores: dict[str, list[Score]] = {name: [] for name in trackers}
    for song in songs:
        for name, tracker in trackers.items():
            scores[name].append(score(song, tracker, verbose))
    for name, found in scores.items():
        for group, members in groupby(found, key=lambda entry: entry.group):
            yield from _rows(f"{group}, {name}", list(members))


def score(song: Song, tracker: BeatTracker, verbose: bool = False) -> Score:
    """Let a tracker hear a song."""
    audio = song.audio.at(tracker.sample_rate)
    began = time.perf_counter()
    heard = tracker.track(audio)
    cost = (time.perf_counter() - began) / audio.seconds
    beats = None if song.beats is None else beat_f_measure(song.beats, heard.times)
    downbeats = None
    if song.downbeats is not None and heard.meter:
        downbeats = beat_f_measure(song.downbeats, heard.downbeats)
    if verbose:
        f = "" if beats is None else f", F {beats:.2f}"
        bars = "" if downbeats is None else f", downbeats {downbeats:.2f}"
        say(f"{tracker.name:14} {song.name:32} {song.tempo:6.1f} BPM, heard {heard.tempo:6.1f}{f}{bars}")
    return Score(song.group, is_tempo_right(song.tempo, heard.tempo), beats, downbeats, cost)


def synthesised(tempi: tuple[int, ...], names: tuple[str, ...]) -> Iterator[Song]:
    """Songs of this program at several tempi."""
    for tempo in tempi:
        for name in names:
            samples, rate, beats = synthesize_song(tempo, LOOP_S, style=name)
            yield Song("synthesiser", f"{name} {tempo}", _audio(samples, rate), tempo, beats)


def tracks(data: Path) -> Iterator[Song]:
    """Songs whose beats are in `audio/beats.csv`: file, beat_s, beat_in_bar."""
    for file, rows in groupby(_table(data / "audio" / "beats.csv"), key=lambda row: row["file"]):
        grid = np.array([(float(row["beat_s"]), int(row["beat_in_bar"])) for row in rows])
        beats = grid[:, 0]
        audio = decode_audio(data / "audio" / file, sample_rate=RATE)
        yield Song("tracks", file, audio, 60 / float(np.median(np.diff(beats))), beats, beats[grid[:, 1] == 1])


def loops(data: Path) -> Iterator[Song]:
    """Songs whose tempo is in `audio/LICENSES.csv`, repeated until they are long enough."""
    with_grid = {row["file"] for row in _table(data / "audio" / "beats.csv")}
    for row in _table(data / "audio" / "LICENSES.csv"):
        if row["known_bpm"] and row["file"] not in with_grid:
            once = decode_audio(data / "audio" / row["file"], sample_rate=RATE).samples
            times = max(1, int(np.ceil(LOOP_S * RATE / len(once))))
            yield Song("loops", row["file"], _audio(np.tile(once, times), RATE), float(row["known_bpm"]))


def _table(path: Path) -> list[Mapping[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise InvalidInput("data", f"cannot read {path}: {error}") from error


def _audio(samples: NDArray[np.float32], rate: int) -> Audio:
    return Audio(samples, rate, len(samples) / rate, "")


def _rows(case: str, scores: list[Score]) -> Iterator[Row]:
    yield Row(case, "songs", len(scores), "")
    for metric, values in (
        ("F of beats", [entry.beats for entry in scores if entry.beats is not None]),
        ("F of downbeats", [entry.downbeats for entry in scores if entry.downbeats is not None]),
    ):
        if values:
            yield Row(case, metric, round(float(np.mean(values)), 3), "0 to 1")
    yield Row(case, "tempo within 4 %", round(100 * float(np.mean([entry.tempo for entry in scores])), 1), "%")
    yield Row(case, "cost", round(1000 * float(np.median([entry.cost for entry in scores])), 2), "ms a second of song")


if __name__ == "__main__":
    sys.exit(main())
