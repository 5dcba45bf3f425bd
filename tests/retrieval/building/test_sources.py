"""What users bring: folders of motion with songs, sentences and metadata beside it, and much that is broken."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dataset_files import Z_UP, t_pose
from odd_songs import encoded
from synthetic_phrases import WordEncoder
from tests_data import data_pack

from choreo.data.synthetic.dances import synthesize_dance
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh import bvh_text, write_bvh
from choreo.motion.formats.json_format import write_json
from choreo.motion.formats.npz import write_npz
from choreo.motion.resample import resample
from choreo.motion.upright import Upright
from choreo.music.synth import synthesize_song, write_wav
from retrieval.building.build import build_library
from retrieval.building.sources import open_sources
from retrieval.library.library import PhraseLibrary
from retrieval.library.phrases import Phrase

MOTION, BEATS, _ = synthesize_dance("side_step", 120, 8.0, seed=1)
OTHER, _, _ = synthesize_dance("kick", 100, 8.0, seed=2)


def built(source: Path, words: WordEncoder, out: Path) -> tuple[list[Phrase], dict[str, str], dict[str, str]]:
    """Phrases, and the reasons and notes by recording."""
    sources = open_sources(source)
    report = build_library(sources.recordings, out, words, skipped=sources.skipped)
    library = PhraseLibrary.open(out)
    skipped, notes = ({r.source: r.reason for r in remarks} for remarks in (report.skipped, report.notes))
    return [library[i] for i in range(len(library))], skipped, notes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one good recording."""
    root = tmp_path / "moves"
    (root / "sub").mkdir(parents=True)
    write_npz(MOTION, root / "sub" / "good.npz")
    return root


class TestFolder:
    def test_everything_beside_a_motion_is_used(self, tmp_path: Path, folder: Path, words: WordEncoder) -> None:
        samples, rate, _ = synthesize_song(120.0, 12.0)
        write_wav(folder / "sub" / "good.wav", samples, rate)
        (folder / "sub" / "good.txt").write_text("side steps\nsteps to the side\n")
        meta = {"genre": "pop", "style": "lively", "licence": "cc0", "audio_offset": 2.0}
        (folder / "sub" / "good.meta.json").write_text(json.dumps(meta))
        phrases, skipped, notes = built(folder, words, tmp_path / "lib")
        assert (skipped, notes) == ({}, {})
        assert [p.caption for p in phrases] == ["side steps", "steps to the side", "side steps"][: len(phrases)]
        first = phrases[0]
        assert (first.source, first.genre, first.style, first.licence) == ("sub/good.npz", "pop", "lively", "cc0")
        assert first.tempo == pytest.approx(120, abs=3)
        assert first.beat_strength is not None
        assert first.beat_strength > 0.2
        assert first.music is not None

    @pytest.mark.parametrize("name", ["good.WAV", "good.m4a", "good.Opus"])
    def test_a_song_is_known_by_its_suffix_in_any_case(
        self, tmp_path: Path, folder: Path, words: WordEncoder, name: str
    ) -> None:
        samples, rate, _ = synthesize_song(120.0, 12.0)
        suffix = Path(name).suffix.lower()
        (folder / "sub" / name).write_bytes(encoded(samples, suffix, rate=rate))
        phrases, _, notes = built(folder, words, tmp_path / "lib")
        assert phrases[0].music is not None
        assert notes == ({} if name.islower() else {"sub/good.npz": f"{name} is its song"})

    def test_audio_that_is_not_used_or_not_whole_is_noted(
        self, tmp_path: Path, folder: Path, words: WordEncoder
    ) -> None:
        samples, rate, _ = synthesize_song(120.0, 12.0)
        write_wav(folder / "sub" / "good.wav", samples, rate)
        (folder / "sub" / "good.MP3").write_bytes(b"another")
        (folder / "sub" / "good.ape").write_bytes(b"another")
        song = folder / "sub" / "good.wav"
        song.write_bytes(song.read_bytes()[: 9 * 2 * rate])
        sources = open_sources(folder)
        reasons = [remark.reason for remark in build_library(sources.recordings, tmp_path / "lib", words).notes]
        assert reasons[0] == "good.MP3 is not used: good.wav is its song"
        assert reasons[1].startswith("good.ape is not used: songs are wav, ")
        assert reasons[2] == "good.wav: the song is cut off or damaged: 9.0 s were found, its file says 12.0 s"

    def test_beats_of_the_metadata_go_before_those_that_are_heard(
        self, tmp_path: Path, folder: Path, words: WordEncoder
    ) -> None:
        (folder / "sub" / "good.meta.json").write_text(json.dumps({"beats": np.arange(0, 8, 0.6).tolist()}))
        phrases, _, _ = built(folder, words, tmp_path / "lib")
        assert phrases[0].tempo == pytest.approx(100)
        assert phrases[0].num_frames == 144

    def test_the_table_of_a_folder(self, tmp_path: Path, folder: Path, words: WordEncoder) -> None:
        write_npz(OTHER, folder / "other.npz")
        (folder / "sub" / "good.meta.json").write_text(json.dumps({"genre": "jazz"}))
        (folder / "phrases.csv").write_text(
            "file,caption,genre,style,licence\n"
            'sub/good.npz,"steps, to the side",pop,,cc-by\nother.npz,kicks,,,\nlost.npz,,,,\n'
        )
        sources = open_sources(folder, licence="cc0", genre="folk")
        report = build_library(sources.recordings, tmp_path / "lib", words, skipped=sources.skipped)
        library = PhraseLibrary.open(tmp_path / "lib")
        said = {(p.source, p.caption, p.genre, p.licence) for p in (library[i] for i in range(len(library)))}
        assert said == {
            ("sub/good.npz", "steps, to the side", "jazz", "cc-by"),
            ("other.npz", "kicks", "folk", "cc0"),
        }
        assert [r.source for r in report.skipped] == ["lost.npz"]

    def test_all_formats_and_one_of_several_with_one_name(
        self, tmp_path: Path, folder: Path, words: WordEncoder
    ) -> None:
        write_json(OTHER, folder / "a.json")
        write_bvh(synthesize_dance("walk", 110, 8.0)[0], folder / "b.BVH")
        write_bvh(MOTION, folder / "sub" / "good.bvh")
        (folder / "report.json").write_text('{"files": []}')
        phrases, skipped, _ = built(folder, words, tmp_path / "lib")
        assert {p.source for p in phrases} == {"a.json", "b.BVH", "sub/good.npz"}
        assert set(skipped) == {"sub/good.bvh", "report.json"}
        assert "good.npz" in skipped["sub/good.bvh"]

    def test_one_file_alone(self, tmp_path: Path, folder: Path, words: WordEncoder) -> None:
        (folder / "sub" / "good.txt").write_text("side steps")
        phrases, _, _ = built(folder / "sub" / "good.npz", words, tmp_path / "lib")
        assert {p.caption for p in phrases} == {"side steps"}

    def test_a_foreign_body_is_retargeted(self, tmp_path: Path, folder: Path, words: WordEncoder) -> None:
        write_npz(Motion(1.3 * MOTION.positions), folder / "giant.npz")
        phrases, _, _ = built(folder, words, tmp_path / "lib")
        assert "giant.npz" in {p.source for p in phrases}


class TestForeignAxesAndPoses:
    """What has to be told from the motion itself is told, and said."""

    def test_a_dance_with_z_up_is_turned_with_a_note(self, tmp_path: Path, words: WordEncoder) -> None:
        positions = synthesize_dance("kick", 120, 4.0)[0].positions
        write_bvh(Motion(positions), tmp_path / "up.bvh")
        (tmp_path / "lies").mkdir()
        write_bvh(Motion((positions @ Z_UP.T).astype(np.float32)), tmp_path / "lies" / "b.bvh")
        phrases, skipped, notes = built(tmp_path / "lies", words, tmp_path / "lib")
        assert len(phrases) == 1
        assert not skipped
        assert "z is up" in notes["b.bvh"]
        turned, upright = (
            open_sources(path).recordings[0].load().motion.positions
            for path in (tmp_path / "lies" / "b.bvh", tmp_path / "up.bvh")
        )
        np.testing.assert_allclose(turned, upright, atol=1e-3)

    def test_the_way_up_may_be_given(self, tmp_path: Path, words: WordEncoder) -> None:
        positions = synthesize_dance("kick", 120, 4.0)[0].positions
        write_npz(Motion(positions), tmp_path / "a.npz")
        lying = open_sources(tmp_path / "a.npz", up="-z").recordings[0].load()
        np.testing.assert_allclose(lying.motion.positions, positions @ Upright("-z").rotation.T, atol=1e-5)
        assert "as was asked for" in lying.notes[0]
        with pytest.raises(InvalidInput, match="must be one of auto"):
            open_sources(tmp_path / "a.npz", up="sky")

    def test_a_calibration_pose_is_dropped_and_song_and_beats_move_with_it(self, tmp_path: Path) -> None:
        positions = synthesize_dance("kick", 120, 4.0)[0].positions
        held = np.repeat(t_pose()[None], 60, axis=0)
        write_npz(Motion(np.concatenate([held, positions]).astype(np.float32)), tmp_path / "a.npz")
        (tmp_path / "a.meta.json").write_text(json.dumps({"beats": [0.5, 2.5, 3.0, 5.5]}))
        item = open_sources(tmp_path / "a.npz").recordings[0].load()
        np.testing.assert_array_equal(item.motion.positions, positions)
        np.testing.assert_allclose(item.beats, [0.5, 1.0, 3.5])
        assert "2.00 s of a calibration pose" in item.notes[0]

    def test_a_take_with_the_converters_t_pose_begins_with_the_dance(self, tmp_path: Path) -> None:
        fast = resample(synthesize_dance("kick", 120, 4.0)[0].positions, 30, 120)
        motion = np.concatenate([t_pose()[None], fast]).astype(np.float32)
        write_bvh(Motion(motion, 120), tmp_path / "01_01.bvh")
        item = open_sources(tmp_path / "01_01.bvh").recordings[0].load()
        assert item.motion.num_frames == len(fast)
        assert not item.notes


def damaged_npz(positions: np.ndarray, fps: object = 30.0) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, positions=positions, fps=np.asarray(fps))
    return buffer.getvalue()


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("positions.npy", "w") as member:
        for _ in range(256):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, positions=np.full((3, 22, 3), {"a": 1}, object), fps=np.float64(30))
    return buffer.getvalue()


NAN = np.where(np.arange(len(MOTION.positions))[:, None, None] == 50, np.nan, MOTION.positions)
BROKEN: dict[str, tuple[str, bytes, str]] = {
    "nan": ("x.npz", damaged_npz(NAN), "NaN"),
    "joints": ("x.npz", damaged_npz(np.zeros((100, 24, 3), np.float32)), "shape"),
    "no fps": ("x.npz", damaged_npz(MOTION.positions, 0.0), "fps"),
    "one frame": ("x.npz", damaged_npz(MOTION.positions[:1]), "1 frames"),
    "bomb": ("x.npz", zip_bomb(), "unpacks"),
    "pickle": ("x.npz", pickled(), "type"),
    "no archive": ("x.npz", b"PK\x03\x04 no", "archive"),
    "empty": ("x.npz", b"", "archive"),
    "truncated bvh": ("x.bvh", bvh_text(MOTION).encode()[:3000], ""),
    "half a bvh": ("x.bvh", bvh_text(MOTION).encode()[:-2000], ""),
    "zero rate bvh": ("x.bvh", bvh_text(MOTION).replace("0.0333333333", "0.0").encode(), "rame"),
    "no json": ("x.json", b"{", "JSON"),
    "deep json": ("x.json", b"[" * 100_000, "JSON"),
    "json list": ("x.json", b"[]", "object"),
    "json text": ("x.json", b'{"motion": "dance", "fps": 30}', "numbers"),
    "json ragged": ("x.json", b'{"motion": [[1], [1, 2]], "fps": 30}', "numbers"),
    "json rate": ("x.json", b'{"motion": [[[0, 0, 0]]], "fps": null}', "numbers"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_skipped_with_a_reason(tmp_path: Path, folder: Path, words: WordEncoder, case: str) -> None:
    name, content, reason = BROKEN[case]
    (folder / name).write_bytes(content)
    phrases, skipped, _ = built(folder, words, tmp_path / "lib")
    assert {p.source for p in phrases} == {"sub/good.npz"}
    assert reason in skipped[name]


@pytest.mark.parametrize(
    ("content", "reason"), [(b"{", "JSON"), (b"[1]", "object"), (b'{"licence": 7}', "licence"),
    (b'{"genre": "\\u0000"}', "genre"), (b'{"audio_offset": -1}', "audio_offset"), (b'{"audio_offset": NaN}', "offset"),
    (bytes(5 << 20), "larger")],
)  # fmt: skip
def test_metadata_that_cannot_be_read_skip_the_recording(
    tmp_path: Path, folder: Path, words: WordEncoder, content: bytes, reason: str
) -> None:
    write_npz(OTHER, folder / "other.npz")
    (folder / "other.meta.json").write_bytes(content)
    phrases, skipped, _ = built(folder, words, tmp_path / "lib")
    assert {p.source for p in phrases} == {"sub/good.npz"}
    assert reason in skipped["other.npz"]


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("good.txt", b"side\x00steps", "control"),
        ("good.txt", b"x" * 5000, "1000"),
        ("good.txt", b"x" * (1 << 20), "larger"),
        ("good.meta.json", b'{"caption": "a\\u0007b"}', "control"),
        ("good.meta.json", b'{"beats": "every now and then"}', "beats"),
        ("good.meta.json", b'{"beats": [[1, 2], [3, 4]]}', "beats"),
        ("good.meta.json", b'{"beats": [1, NaN]}', "beats"),
        ("good.wav", b"RIFF" + bytes(200), "music"),
        ("good.mp3", b"", "music"),
    ],
)
def test_what_else_is_broken_is_left_out_with_a_note(
    tmp_path: Path, folder: Path, words: WordEncoder, name: str, content: bytes, note: str
) -> None:
    (folder / "sub" / name).write_bytes(content)
    phrases, skipped, notes = built(folder, words, tmp_path / "lib")
    assert phrases
    assert all(p.caption == "" and p.music is None and p.tempo == 0 for p in phrases)
    assert skipped == {}
    assert note in notes["sub/good.npz"]


def test_links_pipes_and_hidden_files_are_passed_over(tmp_path: Path, folder: Path, words: WordEncoder) -> None:
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "gone.npz").symlink_to(folder / "nowhere.npz")
    (folder / "linked.npz").symlink_to(folder / "sub" / "good.npz")
    os.mkfifo(folder / "pipe.npz")
    os.mkfifo(folder / "sub" / "good.wav")
    (folder / ".hidden.npz").write_bytes(b"")
    (folder / ".cache").mkdir()
    deep = folder
    for _ in range(70):
        deep = deep / "d"
    deep.mkdir(parents=True)
    phrases, skipped, _ = built(folder, words, tmp_path / "lib")
    assert {p.source for p in phrases} == {"linked.npz"}
    reasons = {name[:20]: reason for name, reason in skipped.items()}
    assert "link" in reasons["sub/loop"]
    assert "cannot be read" in reasons["gone.npz"]
    assert "regular" in reasons["pipe.npz"]
    assert "hidden" in reasons[".hidden.npz"]
    assert "hidden" in reasons[".cache"]
    assert any("deep" in reason for reason in skipped.values())


def test_names_that_are_no_text_do_no_harm(tmp_path: Path, folder: Path, words: WordEncoder) -> None:
    name = os.fsdecode(b"b\xff\n.npz")
    write_npz(OTHER, folder / name)
    phrases, _, _ = built(folder, words, tmp_path / "lib")
    assert "b??.npz" in {p.source for p in phrases}


def test_motion_that_hardly_fits_is_not_opened_when_it_is_too_large(tmp_path: Path, folder: Path, words) -> None:
    with (folder / "huge.npz").open("wb") as file:
        file.truncate(1 << 30)
    _, skipped, _ = built(folder, words, tmp_path / "lib")
    assert "larger" in skipped["huge.npz"]


@pytest.mark.parametrize(
    "table", [b"name,caption\n", b"", b"file\n\xff\xfe\n", b'file,genre\na.npz,"' + b"x" * 200_000]
)
def test_a_table_that_is_none_is_refused(folder: Path, table: bytes) -> None:
    (folder / "phrases.csv").write_bytes(table)
    with pytest.raises(InvalidInput, match=r"phrases\.csv"):
        open_sources(folder)


def test_a_tag_that_is_none_is_refused(folder: Path) -> None:
    for options in ({"licence": "x" * 65}, {"genre": "a\x00"}):
        with pytest.raises(InvalidInput):
            open_sources(folder, **options)


def test_nothing_there_and_nothing_in_it(tmp_path: Path, words: WordEncoder) -> None:
    with pytest.raises(InvalidInput, match="nothing at"):
        open_sources(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="no recording"):
        build_library(open_sources(tmp_path / "empty").recordings, tmp_path / "lib", words)


@pytest.mark.data
def test_the_data_pack_is_recognised_and_says_what_it_knows(tmp_path: Path, words: WordEncoder) -> None:
    wanted = {"W_3_s0", "C_2_s0", "T_5", "60_02", "94_06"}
    recordings = [r for r in open_sources(data_pack()).recordings if r.name in wanted]
    build_library(recordings, tmp_path / "lib", words)
    library = PhraseLibrary.open(tmp_path / "lib")
    phrases = [library[i] for i in range(len(library))]
    genres = {p.source: p.genre for p in phrases}
    assert genres == {
        "W_3_s0": "waltz", "C_2_s0": "cha-cha", "T_5": "tango", "60_02": "salsa", "94_06": "Indian dance",
    }  # fmt: skip
    for phrase in phrases:
        assert phrase.caption
        heard = phrase.source != "T_5"
        assert (phrase.music is not None) == heard
        assert phrase.licence == ("cmu-mocap" if phrase.source[0].isdigit() else "tang-unstated")
