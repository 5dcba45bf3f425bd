"""The benchmark of dances on the beat: its rows, its control and its intervals."""

import json

import numpy as np
import pytest

from bench.on_beat import CASES, Dances, Found, bootstrap, main, rows
from choreo.music.song_beats import given_beats
from serving.pipeline.results import SampleScore

FPS = 30


def pausing(times: np.ndarray, frames: int = 300) -> np.ndarray:
    """Positions (frames, 22, 3) of a body that sways and stops at these seconds."""
    phase = np.interp(np.arange(frames) / FPS, times, np.arange(len(times)))
    positions = np.ones((frames, 22, 3), np.float32)
    positions[..., 0] += 0.2 * np.cos(np.pi * phase)[:, None]
    return positions


def test_without_data_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["case"], row["metric"], row["value"]) == ("on_beat", "skipped", None)


def test_a_folder_without_songs_is_skipped(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    assert main(["--data", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["metric"] == "skipped"


def test_own_beats_gain_and_those_of_other_songs_do_not() -> None:
    songs = {"slow.wav": np.arange(0.4, 10, 0.7), "fast.wav": np.arange(0.3, 10, 0.53)}
    found = Found({name: given_beats(beats) for name, beats in songs.items()})
    scores = [SampleScore(i, 0.1 * i, 0.2, None, 1.0, 0.0) for i in range(3)]
    for name, beats in songs.items():
        on, off = (pausing(np.concatenate([[-0.5], beats + late, [11]])) for late in (0.0, 0.15))
        positions = {"off": [off, off], "warp": [on, on], "best": [off], "both": [on]}
        found.dances.append(Dances(name, positions, scores, 1.5))
    table = {(row.case, row.metric): row.value for row in rows(found)}
    assert table["on_beat", "dances of each case"] == 2
    for case in CASES:
        own, low, high = (table[case, f"own beats{suffix}"] for suffix in ("", ", from", ", to"))
        assert low is not None
        assert high is not None
        assert own is not None
        assert low <= own <= high
        assert (own > 0.8) is (case in ("warp", "both"))
    assert (table["warp", "own beats, less off"] or 0) > 0.4
    assert abs(table["warp", "other songs' beats, less off"] or 0) < 0.2
    assert table["best", "kinetic energy, less off"] == 0
    assert table["seeds", "standard deviation of beats"] == pytest.approx(0.1)
    assert ("seeds", "standard deviation of text") not in table
    assert table["warp", "cost"] == 1.5


def test_the_interval_of_groups_is_wider_than_that_of_their_members() -> None:
    rng = np.random.default_rng(0)
    by_song = np.repeat(rng.normal(0, 1, 20), 10) + rng.normal(0, 0.1, 200)
    names = [f"song {i // 10}" for i in range(200)]
    low, high = bootstrap(by_song, names)
    alone_low, alone_high = bootstrap(by_song, [str(i) for i in range(200)])
    assert low < by_song.mean() < high
    assert high - low > 2 * (alone_high - alone_low)
    assert high - low == pytest.approx(2 * 1.96 * by_song[::10].std() / np.sqrt(20), rel=0.25)
    assert bootstrap(np.ones(4), ["a", "a", "b", "b"]) == (1.0, 1.0)
