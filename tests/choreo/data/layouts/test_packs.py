"""The data pack: a made-up one for what may be wrong with it, the real one for what is in it."""

from pathlib import Path

import numpy as np
import pytest
from tests_data import data_pack

from choreo.data.clip import motion_features
from choreo.data.datasets import open_dataset
from choreo.data.layouts.packs import DataPack
from choreo.data.licences import CC0, CMU, KIT
from choreo.data.synthetic.dances import synthesize_dance
from choreo.errors import InvalidInput
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.retarget import retarget
from choreo.motion.skeleton import L_FOOT, R_FOOT
from choreo.music.beats import beat_phase_channels
from choreo.music.features import ONSET, normalized_onset
from choreo.postprocess.floor import levelled
from retrieval.building.sources import open_sources

MOTION, _, _ = synthesize_dance("jacks", 120, 6.0)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack of two recordings, the second with music."""
    rows = np.rint(MOTION.positions * 1000).astype(np.int16)
    for name in ("motion", "music"):
        (tmp_path / name).mkdir()
    np.savez(tmp_path / "motion/cmu.npz", **{"05_01": rows, "01_01": rows})
    np.savez(tmp_path / "motion/tang.npz", W_1_s0=rows)
    features = np.zeros((len(rows), 35), np.float16)
    np.savez(
        tmp_path / "music/tang_features.npz",
        **{"W_1_s0": features, "W_1_s0/beats": np.arange(0, 6, 0.5), "W_1_s0/tempo": np.float64(120)},
    )
    (tmp_path / "captions.csv").write_text(
        "clip,start_s,end_s,source,split,caption\nW_1_s0,0,6,template,train,a waltz\n"
    )
    return tmp_path


def lowest_toe_of_each_second(positions: np.ndarray) -> np.ndarray:
    toes = positions[: len(positions) // 30 * 30, [L_FOOT, R_FOOT], 1].min(1)
    return toes.reshape(-1, 30).min(1)


def test_recordings_are_read_one_at_a_time(pack: Path) -> None:
    opened = DataPack(pack)
    assert DataPack.recognised(pack)
    assert opened.keys == ["05_01", "W_1_s0"]
    silent, waltz = (opened.recording(key) for key in opened.keys)
    assert (silent.music, len(silent.beats), silent.captions) == (None, 0, ())
    assert waltz.music is not None
    assert waltz.music.shape == (180, 35)
    assert waltz.captions[0].text == "a waltz"
    assert len(waltz.beats) == 12
    assert [clip.key for clip in open_dataset(pack)] == opened.keys


def test_clips_have_what_their_recordings_have(pack: Path) -> None:
    silent, waltz = open_dataset(pack)
    recording = DataPack(pack).recording("W_1_s0")
    features, heading = motion_features(recording.positions)
    np.testing.assert_array_equal(waltz.features, features)
    np.testing.assert_array_equal(waltz.heading, heading)
    assert recording.music is not None
    np.testing.assert_array_equal(waltz.music, recording.music)
    onset = normalized_onset(recording.music[:, ONSET])
    np.testing.assert_array_equal(waltz.rhythm, beat_phase_channels(recording.beats, onset, len(features)))
    assert (waltz.group, waltz.family, waltz.licence) == ("W_1", "W", "tang-unstated")
    assert (waltz.captions, waltz.residual) == (recording.captions, recording.residual)
    assert (silent.music, silent.rhythm.any(), silent.captions) == (None, False, ())


def test_files_for_tests_are_in_no_part_that_is_trained_on(pack: Path) -> None:
    rows = np.rint(MOTION.positions * 1000).astype(np.int16)
    np.savez(pack / "motion/cmu_test.npz", **{"05_08": rows, "60_01": rows})
    (pack / "captions_test.csv").write_text(
        "clip,start_s,end_s,source,split,caption\n05_08,0,6,kit,test,a person turns\n"
        "salsa_01,1,3,own,test,a couple turns\n"
    )
    np.savez(
        pack / "music/cmu_features_made.npz",
        **{"05_01": np.zeros((len(rows), 35), np.float16), "05_01/beats": np.arange(0, 6, 0.5)},
    )
    dataset = open_dataset(pack)
    parts = dataset.split().parts
    assert parts["test"] == ("05_08", "60_01")
    assert {*parts["train"], *parts["val"]} == {"05_01", "W_1_s0"}
    modern, _, tested, salsa = dataset
    assert modern.music is not None
    assert [c.licence for c in tested.captions] == [KIT]
    assert (modern.licence, salsa.group) == (CMU, "salsa_01")
    assert [(c.text, c.start, c.end, c.licence) for c in salsa.captions] == [("a couple turns", 30, 90, CC0)]
    assert not [r.name for r in open_sources(pack).recordings if r.name in ("05_08", "60_01")]


def test_music_of_another_length_is_refused_and_what_has_no_motion_is_listed(pack: Path) -> None:
    with (pack / "captions.csv").open("a") as file:
        file.write("W_9_s0,0,6,template,train,a lost waltz\n01_01,0,6,cmu,train,climbing\n")
    np.savez(
        pack / "music/tang_features.npz",
        **{"W_1_s0": np.zeros((100, 35), np.float16), "W_1_s0/beats": np.zeros(0), "R_7_s0": np.zeros((9, 35))},
    )
    dataset = open_dataset(pack)
    assert [clip.key for clip in dataset] == ["05_01"]
    assert {s.name: s.reason for s in dataset.skipped} == {
        "captions.csv: W_9_s0": "has no motion",
        "tang_features.npz: R_7_s0": "has no motion",
        "W_1_s0": "has music features of 100 frames for 180 frames of motion",
    }


@pytest.mark.parametrize("name", ["motion/cmu.npz", "motion/tang.npz", "music/tang_features.npz", "captions.csv"])
@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 no"])
def test_a_folder_that_is_no_whole_pack_is_refused(pack: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (pack / name).unlink()
    elif name != "captions.csv":
        (pack / name).write_bytes(content)
    else:
        (pack / name).write_text("clip,start_s,end_s,caption\nW_1_s0,soon,later,x\n")
    with pytest.raises(InvalidInput, match=name.rpartition("/")[2]):
        DataPack(pack)


@pytest.mark.parametrize(
    "array",
    [np.zeros((10, 24, 3), np.int16), np.full((10, 22, 3), {}, object), np.zeros((200_000, 22, 3), np.int16)],
    ids=["joints", "pickle", "too long"],
)
def test_an_array_that_is_no_motion_is_refused(pack: Path, array: np.ndarray) -> None:
    np.savez_compressed(pack / "motion/cmu.npz", **{"05_01": array})
    opened = DataPack(pack)
    with pytest.raises(InvalidInput):
        opened.recording("05_01")
    assert len(opened.recording("W_1_s0").positions) == 180


def test_a_floor_that_drifts_is_levelled_and_jumps_stay() -> None:
    motion, _, _ = synthesize_dance("jacks", 120, 12.0)
    drifting = motion.positions.astype(np.float64)
    drifting[..., 1] += np.linspace(0, 0.18, len(drifting))[:, None]
    level = levelled(drifting)
    assert np.abs(level - motion.positions).max() < 0.03
    assert np.array_equal(levelled(motion.positions), motion.positions)


@pytest.mark.data
def test_the_waltz_that_rose_eighteen_centimetres_stays_on_the_floor() -> None:
    with np.load(data_pack() / "motion/tang.npz") as arrays:
        drifting = retarget(arrays["W_1_s1"] / 1000).positions
    level = DataPack(data_pack()).recording("W_1_s1").positions
    assert lowest_toe_of_each_second(drifting).max() > 0.15
    assert lowest_toe_of_each_second(level).max() < 0.08
    assert foot_skating_ratio(level) < 0.5


@pytest.mark.data
@pytest.mark.parametrize("key", ["02_04", "05_16"])
def test_jumps_of_the_pack_are_as_high_as_they_were(key: str) -> None:
    with np.load(data_pack() / "motion/cmu.npz") as arrays:
        jumping = retarget(arrays[key] / 1000).positions
    level = DataPack(data_pack()).recording(key).positions
    height = [p[:, [L_FOOT, R_FOOT], 1].min(1).max() for p in (jumping, level)]
    assert height[0] > 0.4
    assert height[1] == pytest.approx(height[0], abs=0.02)
