import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_phrases import WordEncoder, dance

from choreo.data.clip import Caption
from choreo.data.synthetic.dances import synthesize_dance
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.skeleton import BONE_LENGTHS, PARENTS
from retrieval.building.build import REPORT, PhraseSource, Recording, build_library
from retrieval.building.cutting import Cutting
from retrieval.library.library import PhraseLibrary
from retrieval.library.song_summary import SUMMARY

LONG, LONG_BEATS, _ = synthesize_dance("side_step", 120, 20.0, seed=1)


def test_a_library_of_a_recording_with_and_one_without_beats(tmp_path: Path, words: WordEncoder) -> None:
    seen: list[tuple[int, str]] = []
    items = [
        PhraseSource(LONG, "side steps", "pop", LONG_BEATS, "with", "cc0", np.ones((600, 35)), "lively"),
        Recording("without", "1", lambda: PhraseSource(synthesize_dance("sway", 100, 12.0)[0], "sways", source="w")),
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
    assert (first.style, len(first.music)) == ("lively", len(SUMMARY))
    assert "lively" in first.words
    assert (last.source, last.tempo, last.beats, last.beat_strength, last.music) == ("w", 0.0, (), None, None)


def test_actors_of_any_size_and_rate_become_canonical(tmp_path: Path, words: WordEncoder) -> None:
    giant = Motion((1.2 * LONG.positions).repeat(2, axis=0), fps=60)
    build_library([PhraseSource(giant, "giant", beats=LONG_BEATS, source="g")], tmp_path / "lib", words)
    library = PhraseLibrary.open(tmp_path / "lib")
    assert library[0].num_frames == 120
    p = library.motion(library[0])
    assert np.abs(np.linalg.norm(p[:, 1:] - p[:, PARENTS[1:]], axis=-1) - BONE_LENGTHS[1:]).max() < 2e-3


def broken_items() -> list[tuple[PhraseSource | Recording, str]]:
    nan = Motion(LONG.positions.copy())
    nan.positions[7, 3] = np.nan
    spike = Motion(LONG.positions[:120].copy())
    spike.positions[60] += (5.0, 0, 0)

    def missing() -> PhraseSource:
        raise FileNotFoundError("no such file")

    def joints() -> PhraseSource:
        return PhraseSource(Motion(np.zeros((100, 24, 3), np.float32)))

    scrambled = Motion(LONG.positions[:120, ::-1].copy())
    no_numbers = np.full((120, 35), np.nan)

    return [
        (PhraseSource(nan, source="nan"), "NaN"),
        (PhraseSource(Motion(LONG.positions[:1]), source="frame"), "1 frames"),
        (PhraseSource(Motion(LONG.positions[:40]), source="short"), "40 frames"),
        (PhraseSource(Motion(LONG.positions[:120].repeat(3, 0)[:1].repeat(150, 0)), source="still"), "hardly moves"),
        (PhraseSource(spike, source="spike"), "jumps"),
        (Recording("missing", "0", missing), "no such file"),
        (Recording("joints", "0", joints), "22"),
        (PhraseSource(scrambled, source="scrambled"), "does not fit"),
        (PhraseSource(Motion(LONG.positions[:120]), source="noise", music=no_numbers), "finite"),
        (PhraseSource(Motion(LONG.positions[:120]), source="columns", music=np.zeros((120, 12))), "35"),
        (PhraseSource(Motion(LONG.positions[:60], fps=1000), source="rate"), "frames"),
    ]


def test_broken_recordings_are_skipped_with_a_reason(tmp_path: Path, words: WordEncoder) -> None:
    broken = broken_items()
    items = [item for item, _ in broken] + [dance("kick"), dance("kick")]
    report = build_library(items, tmp_path / "lib", words)
    assert report.phrases == 1
    assert len(report.skipped) == len(broken) + 1
    for (item, reason), skipped in zip(broken, report.skipped, strict=False):
        assert skipped.source.split("@")[0] == (item.name if isinstance(item, Recording) else item.source)
        assert reason in skipped.reason
    assert "equal phrase" in report.skipped[-1].reason
    said = json.loads((tmp_path / "lib" / REPORT).read_text())
    assert [r["reason"] for r in said["skipped"]] == [r.reason for r in report.skipped]
    assert PhraseLibrary.open(tmp_path / "lib").version == report.version


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


def test_a_caption_speaks_of_its_stretch_only(tmp_path: Path, words: WordEncoder) -> None:
    captions = [Caption("long", 0, 600), Caption("first", 0, 130), Caption("glimpse", 130, 150),
                Caption("one", 240, 480), Caption("two", 240, 480)]  # fmt: skip
    item = PhraseSource(LONG, "whole", beats=LONG_BEATS, captions=captions)
    build_library([item], tmp_path / "lib", words)
    library = PhraseLibrary.open(tmp_path / "lib")
    assert [library[i].caption for i in range(4)] == ["first", "long", "one", "two"]


def test_a_drifting_floor_is_levelled(tmp_path: Path, words: WordEncoder) -> None:
    motion, beats, _ = synthesize_dance("jacks", 120, 20.0, seed=1)
    drifting = motion.positions.copy()
    drifting[..., 1] += np.linspace(0, 0.2, 600)[:, None]
    build_library([PhraseSource(Motion(drifting), beats=beats)], tmp_path / "lib", words)
    build_library([PhraseSource(motion, beats=beats)], tmp_path / "level", words)
    drifted, level = (PhraseLibrary.open(tmp_path / n) for n in ("lib", "level"))
    for i in range(4):
        off = drifted.motion(drifted[i])[..., 1] - level.motion(level[i])[..., 1]
        assert np.abs(off).max() < 0.03  # of 20 cm, and the jumps are as high as they were


def test_counts_of_sixteen_and_boundaries_by_novelty_reach_the_library(tmp_path: Path, words: WordEncoder) -> None:
    for name, cutting, frames in (("long", Cutting(16), 240), ("new", Cutting(boundaries="novelty"), None)):
        item = PhraseSource(LONG, beats=LONG_BEATS, music=np.random.default_rng(0).normal(size=(600, 35)))
        build_library([item], tmp_path / name, words, cutting)
        library = PhraseLibrary.open(tmp_path / name)
        lengths = [library[i].num_frames for i in range(len(library))]
        assert frames is None or lengths[0] == frames
        assert all(n % 15 == 0 for n in lengths)
