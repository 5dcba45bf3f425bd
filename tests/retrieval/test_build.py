from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_phrases import WordEncoder, dance

from choreo.data.synthetic import synthesize_dance
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.skeleton import BONE_LENGTHS, PARENTS
from retrieval.build import PhraseSource, build_library
from retrieval.cutting import Cut, cut
from retrieval.library import PhraseLibrary

LONG, LONG_BEATS, _ = synthesize_dance("side_step", 120, 20.0, seed=1)


class TestCutting:
    def test_at_counts_of_eight_and_what_is_left_at_four(self) -> None:
        cuts = cut(LONG.positions, LONG_BEATS)
        assert cuts == [Cut(0, 120), Cut(120, 240), Cut(240, 360), Cut(360, 480)]
        shorter = cut(LONG.positions, LONG_BEATS[:22], (50, 240))
        assert shorter == [Cut(0, 120), Cut(120, 240), Cut(240, 300)]

    def test_in_three_four_time_at_counts_of_six(self) -> None:
        assert cut(LONG.positions, LONG_BEATS, meter=3)[:2] == [Cut(0, 90), Cut(90, 180)]

    def test_slow_music_is_cut_at_four_and_fast_music_at_sixteen(self) -> None:
        assert cut(LONG.positions, np.arange(0, 20, 1.2), (64, 200))[0] == Cut(0, 144)
        assert cut(LONG.positions, np.arange(0, 20, 0.25), (64, 200))[0] == Cut(0, 120)

    def test_a_missed_beat_does_not_make_a_long_phrase(self) -> None:
        beats = np.delete(LONG_BEATS, 5)
        assert cut(LONG.positions, beats)[0] == Cut(90, 210)

    def test_without_beats_where_the_body_pauses(self) -> None:
        """Half a second of rest every three seconds."""
        t = np.arange(600) / 30
        clock = np.cumsum(np.where(t % 3 > 2.5, 0.0, 1.0)) / 30
        frames = LONG.positions[(clock * 30).astype(int) % len(LONG.positions)]
        cuts = cut(frames, ())
        assert len(cuts) >= 4
        inside = [c.last / 30 % 3 for c in cuts[:-1]]
        assert all(x >= 2.4 or x <= 0.1 for x in inside)

    @settings(max_examples=40)
    @given(
        st.integers(1, 600),
        st.lists(st.floats(-3, 25), max_size=60) | st.builds(lambda p: list(np.arange(0, 20, p)), st.floats(0.1, 3)),
        st.tuples(st.integers(2, 150), st.integers(0, 200)),
        st.sampled_from([3, 4]),
    )
    def test_cuts_are_in_order_and_within_the_limits(self, count, beats, limits, meter) -> None:
        low, high = limits[0], sum(limits)
        cuts = cut(LONG.positions[:count], beats, (low, high), meter)
        at = 0
        for piece in cuts:
            assert at <= piece.first
            assert low <= piece.last - piece.first <= high
            at = piece.last
        assert at <= count


def test_a_library_of_a_recording_with_and_one_without_beats(tmp_path: Path, words: WordEncoder) -> None:
    seen: list[tuple[int, str]] = []
    items = [
        PhraseSource(LONG, "side steps", "pop", LONG_BEATS, "with", "cc0", np.ones(600)),
        PhraseSource(lambda: synthesize_dance("sway", 100, 12.0)[0], "sways", source="without"),
    ]
    report = build_library(items, tmp_path / "lib", words, progress=lambda n, source: seen.append((n, source)))
    library = PhraseLibrary.open(tmp_path / "lib", ("words", 48))
    assert report.phrases == len(library) > 4
    assert report.version == library.version
    assert seen == [(1, "with"), (2, "without")]
    first, last = library[0], library[len(library) - 1]
    assert (first.source, first.start, first.num_frames, first.licence) == ("with", 0.0, 120, "cc0")
    assert first.tempo == pytest.approx(120, abs=0.1)
    assert first.beat_strength == 0
    assert (last.source, last.tempo, last.beats, last.beat_strength) == ("without", 0.0, (), None)


def test_actors_of_any_size_and_rate_become_canonical(tmp_path: Path, words: WordEncoder) -> None:
    giant = Motion((1.2 * LONG.positions).repeat(2, axis=0), fps=60)
    build_library([PhraseSource(giant, "giant", beats=LONG_BEATS, source="g")], tmp_path / "lib", words)
    library = PhraseLibrary.open(tmp_path / "lib")
    assert library[0].num_frames == 120
    p = library.motion(library[0])
    assert np.abs(np.linalg.norm(p[:, 1:] - p[:, PARENTS[1:]], axis=-1) - BONE_LENGTHS[1:]).max() < 2e-3


def broken_items() -> list[tuple[PhraseSource, str]]:
    nan = Motion(LONG.positions.copy())
    nan.positions[7, 3] = np.nan
    spike = Motion(LONG.positions[:120].copy())
    spike.positions[60] += (5.0, 0, 0)

    def missing() -> Motion:
        raise FileNotFoundError("no such file")

    def joints() -> Motion:
        return Motion(np.zeros((100, 24, 3), np.float32))

    return [
        (PhraseSource(nan, source="nan"), "NaN"),
        (PhraseSource(Motion(LONG.positions[:1]), source="frame"), "1 frames"),
        (PhraseSource(Motion(LONG.positions[:40]), source="short"), "40 frames"),
        (PhraseSource(Motion(LONG.positions[:120].repeat(3, 0)[:1].repeat(150, 0)), source="still"), "hardly moves"),
        (PhraseSource(spike, source="spike"), "jumps"),
        (PhraseSource(missing, source="missing"), "no such file"),
        (PhraseSource(joints, source="joints"), "22"),
        (PhraseSource(Motion(LONG.positions[:60], fps=1000), source="rate"), "frames"),
    ]


def test_broken_recordings_are_skipped_with_a_reason(tmp_path: Path, words: WordEncoder) -> None:
    broken = broken_items()
    items = [item for item, _ in broken] + [dance("kick"), dance("kick")]
    report = build_library(items, tmp_path / "lib", words)
    assert report.phrases == 1
    assert len(report.skipped) == len(broken) + 1
    for (item, reason), skipped in zip(broken, report.skipped, strict=False):
        assert skipped.source.split("@")[0] == item.source
        assert reason in skipped.reason
    assert "equal phrase" in report.skipped[-1].reason


@pytest.mark.parametrize("items", [[], [item for item, _ in broken_items()]], ids=["empty", "all broken"])
def test_no_usable_phrase_is_an_error_that_leaves_an_older_library_alone(tmp_path: Path, words, items: list) -> None:
    out = tmp_path / "lib"
    build_library([dance()], out, words)
    with pytest.raises(InvalidInput, match="no usable phrase"):
        build_library(items, out, words)
    assert len(PhraseLibrary.open(out)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["lib"]


def test_progress_may_cancel(tmp_path: Path, words: WordEncoder) -> None:
    def stop(done: int, source: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_library([dance()], tmp_path / "lib", words, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_same_recordings_give_the_same_bytes(tmp_path: Path, words: WordEncoder) -> None:
    first, second = (build_library([dance(), dance("walk")], tmp_path / n, words) for n in ("a", "b"))
    assert first.version == second.version
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_a_recording_without_a_caption_has_no_text_to_be_found_by(tmp_path: Path, words: WordEncoder) -> None:
    motion = Motion(LONG.positions[:120])
    build_library([PhraseSource(motion, source="x")], tmp_path / "lib", words)
    assert len(PhraseLibrary.open(tmp_path / "lib")) == 1


@pytest.mark.parametrize("limits", [(1, 5), (100, 50), (0, 0)])
def test_senseless_limits_are_refused(tmp_path: Path, words: WordEncoder, limits: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput, match="phrase_frames"):
        build_library([dance()], tmp_path / "lib", words, limits)
