from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.data.clip import Caption, Clip
from choreo.data.synthetic.beat_pairing import MAX_WARP, match_beats, pair, paired_clips, pieces
from choreo.data.synthetic.clips import synthetic_clips
from choreo.data.synthetic.songs import BeatSong
from choreo.evaluation.kinematics import bone_length_deviation
from choreo.motion.kinematic_beats import kinematic_beats
from choreo.motion.representation import decode
from choreo.motion.skeleton import FPS


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A synthetic dance; what it danced to is forgotten."""
    dance = synthetic_clips(1, seed=5)[0]
    return replace(dance, music=None, rhythm=np.zeros_like(dance.rhythm))


def song(tempo: float, seconds: float = 20.0) -> BeatSong:
    frames = round(seconds * FPS)
    beats = np.arange(0, seconds, 60 / tempo)
    return BeatSong(f"beep-{tempo:.0f}", np.ones((frames, 35), np.float32), np.zeros(frames, np.float32), beats)


def test_beats_that_agree_already_are_all_matched() -> None:
    grid = np.arange(12) * 0.5
    match = match_beats(grid[2:9], grid)
    assert match is not None
    assert len(match.own) == 7
    assert np.ptp(match.song - match.own) == pytest.approx(0)
    assert match.score == pytest.approx(7)


def test_too_few_beats_or_too_different_ones_give_no_match() -> None:
    assert match_beats(np.array([1.0]), np.arange(9.0)) is None
    assert match_beats(np.array([0.0, 0.2]), np.arange(3.0)) is None


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0.2, 1.5), min_size=3, max_size=15), st.floats(70, 150))
def test_no_match_asks_for_more_than_the_allowed_change_of_speed(gaps: list[float], tempo: float) -> None:
    match = match_beats(np.cumsum(gaps), np.arange(60) * 60 / tempo)
    if match is None:
        return
    rate = np.diff(match.own) / np.diff(match.song)
    assert (rate >= 1 - MAX_WARP - 1e-9).all()
    assert (rate <= 1 + MAX_WARP + 1e-9).all()


def test_a_paired_clip_has_its_beats_on_the_songs_beats(clip: Clip) -> None:
    own = kinematic_beats(decode(clip.features)) / FPS
    tune = song(100)
    match = match_beats(own, tune.beats)
    assert match is not None
    paired = pair(clip, tune, match)
    assert paired.music is not None
    assert len(paired.features) == len(paired.music) == len(paired.rhythm) == len(paired.heading)
    assert bone_length_deviation(decode(paired.features)) < 1e-5
    # The clip begins where both are there; the beats it was matched to now have a kinematic beat close by.
    first = np.ceil(max(0.0, match.song[0] - match.own[0]) * FPS - 1e-9)
    moved = kinematic_beats(decode(paired.features))
    distance = np.abs((match.song * FPS - first)[:, None] - moved).min(1)
    assert np.median(distance) <= 1
    np.testing.assert_allclose(paired.rhythm[np.rint(match.song * FPS - first).astype(int)[1:-1], 1], 1, atol=0.1)


def test_pairing_is_deterministic_and_moves_captions_along(clip: Clip) -> None:
    clip = replace(clip, captions=(Caption("half", 0, clip.num_frames // 2),))
    tunes = [song(tempo) for tempo in (80, 95, 110, 125)]
    first, again = (paired_clips([clip], tunes, 2, seed=3) for _ in range(2))
    assert len(first) == 2
    assert [c.key for c in first] == [c.key for c in again]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.features, b.features)
        half = a.captions[0]
        assert half.end == pytest.approx(a.num_frames / 2, abs=0.2 * a.num_frames)
        assert (a.group, a.family, a.licence) == (clip.group, clip.family, clip.licence)


def test_pieces_cover_a_clip_and_carry_the_captions_that_touch_them(clip: Clip) -> None:
    clip = replace(clip, captions=(Caption("start", 0, 30), Caption("all", 0, clip.num_frames)))
    parts = pieces(clip, seconds=5)
    assert len(parts) == 3
    assert sum(p.num_frames for p in parts) == clip.num_frames
    np.testing.assert_array_equal(np.concatenate([p.features for p in parts]), clip.features)
    assert [[c.text for c in p.captions] for p in parts] == [["start", "all"], ["all"], ["all"]]
    assert all(0 <= c.start < c.end <= p.num_frames for p in parts for c in p.captions)
