from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_phrases import phrase

from retrieval.library.phrases import Phrase
from retrieval.prior.chaining import MIN_BEATS, Segment, chain
from retrieval.prior.timing import MAX_WARP, beat_grid


def poses(phrases: list[Phrase], seed: int = 0) -> list[np.ndarray]:
    """A random walk of poses per phrase."""
    rng = np.random.default_rng(seed)
    return [np.cumsum(rng.normal(0, 0.002, (p.num_frames, 132)), axis=0) for p in phrases]


def chained(phrases: list[Phrase], num_frames: int, beats: object, fps: float = 30) -> list[Segment]:
    return chain(phrases, poses(phrases), num_frames, beats, fps)  # type: ignore[arg-type]


def regular(period: float, start: float) -> list[float]:
    return list(start + np.arange(0, 30, period))


@given(
    st.lists(st.tuples(st.floats(30, 250) | st.just(0.0), st.integers(1, 12), st.floats(0, 1)), min_size=1, max_size=4),
    st.lists(st.floats(-5, 70), max_size=80) | st.builds(regular, st.floats(0.2, 2), st.floats(0, 1)),
    st.integers(1, 1500),
    st.sampled_from([20.0, 30.0, 60.0]),
)
def test_the_timeline_is_filled_without_gaps_and_within_the_limits(specs, beats, num_frames, fps) -> None:
    phrases = [phrase(*spec) for spec in specs]
    segments = chained(phrases, num_frames, beats, fps)
    assert segments[0].choice == 0
    assert [s.first for s in segments] == np.cumsum([0, *(len(s.times) for s in segments)])[:-1].tolist()
    assert sum(len(s.times) for s in segments) == num_frames
    for segment in segments:
        assert np.isfinite(segment.times).all()
        assert segment.times.min() >= 0
        assert segment.times.max() <= phrases[segment.choice].num_frames / 30 + 1e-6
        rates = np.append(np.diff(segment.times), segment.step) * fps
        assert ((rates >= 1 - MAX_WARP - 1e-6) & (rates <= 1 + MAX_WARP + 1e-6)).all()


@given(st.lists(st.floats(105, 130), min_size=1, max_size=4), st.floats(0, 1), st.integers(0, 99))
def test_every_phrase_of_a_chain_is_on_the_beat(tempos, start, seed) -> None:
    phrases = [phrase(tempo) for tempo in tempos]
    song = start + np.arange(0, 70, 60 / 117)
    grid = beat_grid(song, 60)
    for segment in chain(phrases, poses(phrases, seed), 1800, song, 30)[1:]:
        own = np.array(phrases[segment.choice].beats)
        own = own[(own >= segment.times[0]) & (own <= segment.times[-1])]
        if not len(own):
            continue
        landed = (segment.first + np.interp(own, segment.times, np.arange(len(segment.times)))) / 30
        # Half a frame, and what a line between two frames misses where the rate changes there.
        assert np.abs(landed[:, None] - grid).min(1).max() < (0.5 + MAX_WARP / 2) / 30


def test_no_phrase_is_left_too_early_or_repeated_by_a_beat() -> None:
    phrases = [phrase(120), phrase(118), phrase(124)]
    segments = chained(phrases, 3600, np.arange(0, 130, 0.5))
    for one, two in pairwise(segments):
        assert len(one.times) / 30 >= MIN_BEATS * 0.5 - 0.1
        if one.choice == two.choice:
            assert two.times[0] < one.times[-1] - 1.5


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_best_hit_plays_most_and_the_others_play_too(count: int) -> None:
    phrases = [phrase(120)] * count
    segments = chained(phrases, 9000, np.arange(0, 310, 0.5))
    frames = np.bincount([s.choice for s in segments], [len(s.times) for s in segments], count)
    assert frames.argmax() == 0
    assert (frames > 0.4 * 9000 / np.arange(1, count + 1) / (1 / np.arange(1, count + 1)).sum()).all()


def test_like_poses_are_sought() -> None:
    """Two phrases that are alike at one beat only, where the one is at its fourth and the other at its third."""
    phrases = [phrase(120), phrase(120)]
    a = np.zeros((120, 132))
    a[:, 0] = 0.2 + 0.3 * np.arange(120) / 120
    b = -a
    a[75:77], b[45:47] = 0, 0
    segments = chain(phrases, [a, b], 180, np.arange(0, 9, 0.5), 30)
    assert [s.choice for s in segments[:2]] == [0, 1]
    assert len(segments[0].times) == 75
    assert segments[1].times[0] == pytest.approx(1.5)


def test_counts_go_on_where_poses_do_not_decide() -> None:
    phrases = [phrase(120), phrase(120)]
    still = [np.zeros((120, 132))] * 2
    beat = 0
    for segment in chain(phrases, still, 1800, np.arange(0, 70, 0.5), 30):
        assert (round(segment.times[0] / 0.5) - beat) % 4 == 0
        beat = round((segment.times[-1] + segment.step) / 0.5)


def test_a_phrase_that_lasts_to_the_end_is_not_left() -> None:
    assert len(chained([phrase(120), phrase(120)], 120, np.arange(0, 9, 0.5))) == 1


def test_a_long_chain_is_bounded() -> None:
    segments = chained([phrase(120, 1), phrase(100, 16)], 18000, np.arange(0, 610, 0.5))
    assert len(segments) <= 18000 / 15 + 1
