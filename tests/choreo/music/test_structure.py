"""Sections of a song."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.data.synthetic.song_forms import formed_song
from choreo.music.encoded import MusicFeatures
from choreo.music.encoders import DSP35
from choreo.music.structure import Section, bar_edges, find_sections

BAR = 2.0


def song(form: str, bars: int = 8, dim: int = 35, noise: float = 0.2, upbeat: float = 0.0) -> MusicFeatures:
    """Features whose bars are the same within a letter, with noise; four beats a bar."""
    rng = np.random.default_rng(0)
    patterns = {
        letter: rng.standard_normal(dim) + 0.5 * rng.standard_normal((60, dim)) for letter in dict.fromkeys(form)
    }
    features = np.concatenate([np.tile(patterns[letter], (bars, 1)) for letter in form])
    features = np.concatenate([np.zeros((round(30 * upbeat), dim)), features])
    features = (features + noise * rng.standard_normal(features.shape)).astype(np.float32)
    beats = upbeat + np.arange(0, len(form) * bars * BAR - 1e-6, BAR / 4)
    onset = np.zeros(len(features), np.float32)
    onset[np.rint(30 * beats).astype(int)] = 1
    return MusicFeatures(features, beats, 120.0, onset, "made", "", downbeats=beats[::4])


@pytest.mark.parametrize("dim", [35, 64])
@pytest.mark.parametrize(
    ("form", "bars", "labels", "starts"),
    [
        ("ABAB", 8, "ABAB", (0, 8, 16, 24)),
        ("ABAC", 4, "ABAC", (0, 4, 8, 12)),
        ("AABA", 8, "ABA", (0, 16, 24)),
        ("A", 12, "A", (0,)),
    ],
)
def test_known_forms(form: str, bars: int, labels: str, starts: tuple[int, ...], dim: int) -> None:
    found = find_sections(song(form, bars, dim))
    assert "".join(section.label for section in found) == labels
    assert [section.start for section in found] == pytest.approx([BAR * start for start in starts])
    assert found[-1].end == pytest.approx(BAR * bars * len(form), abs=0.05)
    assert found[1 if len(found) > 1 else 0].document()["bars"] == len(found[1 if len(found) > 1 else 0].bars) - 1


def test_an_upbeat_belongs_to_no_section_and_bars_that_are_not_known_are_four_beats() -> None:
    made = song("ABAB", upbeat=0.7)
    found = find_sections(replace(made, downbeats=np.zeros(0)))
    assert [section.label for section in found] == list("ABAB")
    assert found[0].start == pytest.approx(0.7)
    assert [s.start for s in find_sections(made)] == [s.start for s in found]


def test_bars_before_the_tracker_was_sure() -> None:
    made = song("AB")
    late = replace(made, downbeats=made.downbeats[2:])
    assert bar_edges(late) == pytest.approx(bar_edges(made))


def test_songs_without_two_bars_have_none() -> None:
    made = song("AB")
    none = np.zeros(0)
    assert find_sections(replace(made, beats=none, downbeats=none)) == ()
    assert find_sections(replace(made, beats=made.beats[:4], downbeats=none)) == ()
    silent = replace(made, features=np.zeros_like(made.features), onset=np.zeros_like(made.onset))
    assert [section.label for section in find_sections(silent)] == ["A"]


@settings(max_examples=30, deadline=None)
@given(
    frames=st.integers(1, 2000),
    downbeats=st.lists(st.floats(0, 90), max_size=60, unique=True),
    seed=st.integers(0, 99),
)
def test_sections_follow_each_other_whatever_the_bars_are(frames: int, downbeats: list[float], seed: int) -> None:
    features = np.random.default_rng(seed).standard_normal((frames, 35)).astype(np.float32)
    bars = np.unique(np.round(downbeats, 2))
    made = MusicFeatures(features, bars, 0.0, np.zeros(frames, np.float32), "made", "", downbeats=bars)
    found = find_sections(made)
    edges = bar_edges(made)
    if found:
        assert np.array_equal(np.concatenate([found[0].bars, *(s.bars[1:] for s in found[1:])]), edges)
    assert all(isinstance(section, Section) and np.isfinite(section.bars).all() for section in found)
    assert all(a.label != b.label for a, b in pairwise(found))


@pytest.mark.slow
def test_a_song_that_is_heard() -> None:
    made = formed_song("ABAB", 8, 124, seed=5)
    found = find_sections(DSP35.encode(made.audio))
    assert tuple(section.label for section in found) == made.labels
    assert [section.start for section in found] == pytest.approx(made.edges[:-1], abs=0.1)
