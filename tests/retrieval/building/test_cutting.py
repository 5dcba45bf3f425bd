import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.data.synthetic.dances import synthesize_dance
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.music.features import CHROMA, MFCC
from retrieval.building.cutting import BOUNDARIES, Cut, Cutting, cut
from retrieval.building.novelty import music_novelty, novelty, pose_novelty

LONG, LONG_BEATS, _ = synthesize_dance("side_step", 120, 20.0, seed=1)


def limits(low: int, high: int) -> Cutting:
    return Cutting(phrase_frames=(low, high))


def two_sounds(change: int, count: int = 600, seed: int = 0) -> np.ndarray:
    """Features whose timbre and harmony change once."""
    rng = np.random.default_rng(seed)
    music = rng.normal(0, 0.1, (count, 35)).astype(np.float32)
    music[change:, MFCC] += 5
    music[change:, CHROMA.start] += 1
    return music


class TestCounts:
    def test_at_counts_of_eight_and_what_is_left_at_four(self) -> None:
        assert cut(LONG.positions, LONG_BEATS) == [Cut(0, 120), Cut(120, 240), Cut(240, 360), Cut(360, 480)]
        shorter = cut(LONG.positions, LONG_BEATS[:22], limits(50, 240))
        assert shorter == [Cut(0, 120), Cut(120, 240), Cut(240, 300)]

    def test_in_three_four_time_at_counts_of_six(self) -> None:
        assert cut(LONG.positions, LONG_BEATS, meter=3)[:2] == [Cut(0, 90), Cut(90, 180)]

    def test_slow_music_is_cut_at_four_and_fast_music_at_sixteen(self) -> None:
        assert cut(LONG.positions, np.arange(0, 20, 1.2), limits(64, 200))[0] == Cut(0, 144)
        assert cut(LONG.positions, np.arange(0, 20, 0.25), limits(64, 200))[0] == Cut(0, 120)

    def test_a_missed_beat_does_not_make_a_long_phrase(self) -> None:
        assert cut(LONG.positions, np.delete(LONG_BEATS, 5))[0] == Cut(90, 210)

    @pytest.mark.parametrize(("beats", "tempo"), [(8, 100), (16, 100), (32, 100), (16, 64), (32, 64)])
    def test_longer_counts_widen_the_limits(self, beats: int, tempo: int) -> None:
        motion, grid, _ = synthesize_dance("sway", tempo, 80.0)
        cuts = cut(motion.positions, grid, Cutting(beats))
        assert cuts[0].last - cuts[0].first == round(beats * 60 / tempo * 30)

    def test_what_is_left_of_a_long_count_is_halved_until_it_fits(self) -> None:
        cuts = cut(LONG.positions, LONG_BEATS, Cutting(16))
        assert cuts == [Cut(0, 240), Cut(240, 480)]
        assert cut(LONG.positions, LONG_BEATS[:30], Cutting(16)) == [Cut(0, 240), Cut(240, 360)]
        assert cut(LONG.positions, LONG_BEATS, Cutting(32))[0] == Cut(0, 480)


class TestPauses:
    def test_without_beats_where_the_body_pauses(self) -> None:
        """Half a second of rest every three seconds."""
        t = np.arange(600) / 30
        clock = np.cumsum(np.where(t % 3 > 2.5, 0.0, 1.0)) / 30
        frames = LONG.positions[(clock * 30).astype(int) % len(LONG.positions)]
        for cuts in (cut(frames, ()), cut(frames, LONG_BEATS, Cutting(boundaries="pauses"))):
            assert len(cuts) >= 4
            inside = [c.last / 30 % 3 for c in cuts[:-1]]
            assert all(x >= 2.4 or x <= 0.1 for x in inside)

    def test_counts_without_beats_fall_back_to_pauses(self) -> None:
        assert cut(LONG.positions, (), Cutting(boundaries="counts")) == cut(LONG.positions, ())


class TestNovelty:
    @pytest.mark.parametrize("change", [150, 300, 401])
    def test_it_peaks_where_the_music_changes(self, change: int) -> None:
        assert abs(int(np.argmax(music_novelty(two_sounds(change)))) - change) <= 8  # a quarter of a second

    def test_it_is_the_checkerboard_correlation_of_the_similarity_matrix(self) -> None:
        """Foote 2000, by the letter, on a short recording."""
        rng = np.random.default_rng(1)
        x = np.repeat(rng.normal(size=(4, 6)), 40, axis=0) + 0.1 * rng.normal(size=(160, 6))
        found = novelty(x, fps=10)
        assert found.shape == (160,)
        assert found.min() >= 0
        assert found.max() <= 1
        peaks = [int(np.argmax(found[at - 10 : at + 10])) + at - 10 for at in (40, 80, 120)]
        assert np.abs(np.array(peaks) - (40, 80, 120)).max() <= 1

    def test_nothing_is_new_where_nothing_changes(self) -> None:
        assert novelty(np.ones((100, 5))).max() < 1e-9
        assert novelty(np.zeros((1, 5))).shape == (1,)

    def test_it_does_not_matter_where_the_dancer_is_and_faces(self) -> None:
        turned = LONG.positions @ np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]], np.float32) + np.float32([3, 0, 1])
        assert np.allclose(pose_novelty(turned), pose_novelty(LONG.positions), atol=1e-4)

    def test_of_two_dances_in_a_row_it_finds_the_seam(self) -> None:
        other, _, _ = synthesize_dance("jacks", 120, 10.0)
        both = np.concatenate([LONG.positions[:300], other.positions])
        assert abs(int(np.argmax(pose_novelty(both))) - 300) <= 15

    def test_boundaries_are_on_beats_where_there_are_beats(self) -> None:
        cutting = Cutting(boundaries="novelty")
        cuts = cut(LONG.positions, LONG_BEATS, cutting, music=two_sounds(217))
        frames = set(np.rint(LONG_BEATS * 30).astype(int).tolist())
        assert all({c.first, c.last} <= frames for c in cuts)
        assert any(c.last in (210, 225) for c in cuts)

    def test_without_beats_they_are_at_the_change_itself(self) -> None:
        cuts = cut(LONG.positions, (), Cutting(boundaries="novelty"), music=two_sounds(150))
        assert any(abs(c.last - 150) <= 8 for c in cuts)

    def test_beats_that_stop_and_go_on_are_followed(self) -> None:
        beats = np.concatenate([np.arange(0, 5, 0.5), np.arange(14, 20, 0.5)])
        cuts = cut(LONG.positions, beats, Cutting(boundaries="novelty"))
        assert cuts[0].first == 0
        assert cuts[-1].first >= 420
        assert all(c.last <= 150 or c.first >= 420 for c in cuts)

    def test_music_that_ends_early_leaves_it_to_the_motion(self) -> None:
        cutting = Cutting(boundaries="novelty")
        assert cut(LONG.positions, (), cutting, music=two_sounds(150)[:400]) == cut(LONG.positions, (), cutting)


def test_beats_that_fall_on_one_frame_are_one() -> None:
    crowded = np.repeat(np.arange(0, 20, 0.5), 6) + np.tile(np.arange(6) / 1000, 40)
    for boundaries in BOUNDARIES:
        cutting = Cutting(None, boundaries)
        plain = cut(LONG.positions, np.arange(0, 20, 0.5), cutting, 4, None)
        assert cut(LONG.positions, crowded, cutting, 4, None) == plain


@settings(max_examples=60)
@given(
    st.integers(1, 600),
    st.lists(st.floats(-3, 25), max_size=60) | st.builds(lambda p: list(np.arange(0, 20, p)), st.floats(0.1, 3)),
    st.tuples(st.integers(2, 150), st.integers(0, 200)) | st.none(),
    st.sampled_from([3, 4]),
    st.sampled_from([None, 8, 16, 32]),
    st.sampled_from(BOUNDARIES),
    st.booleans(),
)  # fmt: skip
def test_cuts_are_in_order_and_within_the_limits(count, beats, between, meter, counts, boundaries, heard) -> None:
    cutting = Cutting(counts, boundaries, None if between is None else (between[0], sum(between)))
    low, high = cutting.limits
    cuts = cut(LONG.positions[:count], beats, cutting, meter, two_sounds(100) if heard else None)
    at = 0
    for piece in cuts:
        assert at <= piece.first
        assert low <= piece.last - piece.first <= high
        at = piece.last
    assert at <= count


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"beats": 7}, "beats"),
        ({"boundaries": "bars"}, "boundaries"),
        ({"phrase_frames": (1, 5)}, "phrase_frames"),
        ({"phrase_frames": (100, 50)}, "phrase_frames"),
        ({"phrase_frames": (64, 10_000)}, "phrase_frames"),
    ],
)
def test_senseless_options_are_refused(options: dict, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Cutting(**options)
    assert caught.value.field == field


def test_beats_that_are_none_are_as_good_as_no_beats() -> None:
    motion = Motion(LONG.positions[:200])
    for garbage in ([np.nan] * 20, [1e9] * 20, [-1.0] * 20, [0.0] * 20):
        assert cut(motion.positions, garbage) == cut(motion.positions, ())
