"""Performances of several dancers in every format."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from choreo.errors import InvalidInput, NonFiniteOutput
from choreo.motion.clip import Motion
from choreo.motion.formats import bvh, json_format, npz, preview
from choreo.motion.formats.camera import frame_dancers
from choreo.motion.formats.formats import Format, encode
from choreo.motion.formats.preview import Painter, palette
from choreo.motion.performance import MAX_DANCERS, Performance
from choreo.motion.skeleton import JOINT_NAMES

MakeMotion = Callable[..., Motion]
Read = Callable[..., Performance]
READERS: dict[Format, tuple[Read, Callable[..., Motion]]] = {
    Format.JSON: (json_format.read_performance, json_format.read_json),
    Format.NPZ: (npz.read_performance, npz.read_npz),
    Format.BVH: (bvh.read_performance, bvh.read_bvh),
}
TOLERANCE = 1e-4


def moved(motion: Motion, x: float) -> Motion:
    positions = motion.positions + np.array([x, 0, 0], np.float32)
    return Motion(positions, motion.fps, motion.rotations)


@pytest.fixture(scope="module")
def duet(make_motion: MakeMotion) -> Performance:
    dancers = (make_motion(frames=12, seed=1, strength=0.3), moved(make_motion(frames=12, seed=2, strength=0.3), 1.5))
    return Performance(dancers, {"seed": 5, "prompt": "a waltz"}, ("lead", "follow"))


@pytest.mark.parametrize("fmt", READERS, ids=str)
def test_a_duet_comes_back(duet: Performance, tmp_path: Path, fmt: Format) -> None:
    path = tmp_path / f"duet{fmt.suffix}"
    path.write_bytes(encode(duet, fmt))
    for source in (path, path.read_bytes()):
        back = READERS[fmt][0](source)
        assert back.names == ("lead", "follow")
        assert (back.fps, back.num_frames) == (duet.fps, duet.num_frames)
        assert np.abs(back.positions - duet.positions).max() < TOLERANCE
    if fmt is not Format.BVH:  # which has no place for metadata
        assert back.meta == duet.meta


@pytest.mark.parametrize("fmt", READERS, ids=str)
def test_a_solo_reads_as_a_performance_of_one(make_motion: MakeMotion, fmt: Format) -> None:
    motion = make_motion(frames=3)
    back = READERS[fmt][0](encode(motion, fmt))
    assert back.names == ("dancer-1",)
    assert np.abs(back.single().positions - motion.positions).max() < TOLERANCE


@pytest.mark.parametrize("fmt", READERS, ids=str)
def test_readers_of_one_dancer_refuse_two_and_name_the_field(duet: Performance, fmt: Format) -> None:
    with pytest.raises(InvalidInput, match="must be one dancer, got 2") as error:
        READERS[fmt][1](encode(duet, fmt), "start")
    assert error.value.field == "start"


def test_npz_has_a_dancer_axis_and_names(duet: Performance) -> None:
    with np.load(io.BytesIO(encode(duet, Format.NPZ)), allow_pickle=False) as file:
        assert file["positions"].shape == (2, 12, 22, 3)
        assert file["rotations"].shape == (2, 12, 22, 3, 3)
        assert file["positions"].dtype == file["rotations"].dtype == np.float32
        assert file["dancers"].tolist() == ["lead", "follow"]
        assert tuple(file["joint_names"]) == JOINT_NAMES


def test_npz_leaves_rotations_out_unless_all_dancers_have_them(duet: Performance, make_motion: MakeMotion) -> None:
    mixed = Performance((duet.dancers[0], make_motion(frames=12, fitted=False)))
    data = encode(mixed, Format.NPZ)
    assert "rotations" not in np.load(io.BytesIO(data)).files
    assert [dancer.rotations for dancer in npz.read_performance(data).dancers] == [None, None]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seeds=st.lists(st.integers(0, 50), min_size=1, max_size=3),
    frames=st.integers(1, 6),
    fps=st.floats(1, 1000),
    fitted=st.booleans(),
    meta=st.dictionaries(st.text(max_size=5), st.none() | st.integers(0, 9) | st.text(max_size=5), max_size=3),
)
def test_npz_is_lossless_for_any_number_of_dancers(
    make_motion: MakeMotion, seeds: list[int], frames: int, fps: float, fitted: bool, meta: dict[str, Any]
) -> None:
    dancers = tuple(make_motion(frames=frames, seed=seed, fps=fps, fitted=fitted) for seed in seeds)
    performance = Performance(dancers, meta)
    data = encode(performance, Format.NPZ)
    back = npz.read_performance(data)
    assert (back.names, back.fps, back.meta) == (performance.names, fps, meta)
    for ours, theirs in zip(back.dancers, dancers, strict=True):
        np.testing.assert_array_equal(ours.positions, theirs.positions)
        assert (ours.rotations is None) == (not fitted)
        if ours.rotations is not None:
            np.testing.assert_array_equal(ours.rotations, theirs.rotations)
    assert encode(back, Format.NPZ) == data


def test_json_lists_dancers_in_place_of_the_motion(duet: Performance) -> None:
    document = json.loads(encode(duet, Format.JSON))
    assert set(document) == {"dancers", "fps", "num_frames", "num_joints", "seed", "meta"}
    assert (document["fps"], document["num_frames"], document["num_joints"], document["seed"]) == (30, 12, 22, 5)
    assert [set(entry) for entry in document["dancers"]] == [{"name", "motion"}] * 2
    assert np.array(document["dancers"][1]["motion"]).shape == (12, 22, 3)


def test_bvh_has_a_hierarchy_per_dancer(duet: Performance) -> None:
    text = encode(duet, Format.BVH).decode()
    assert re.findall(r"^ROOT (\S+)$", text, re.MULTILINE) == ["lead:pelvis", "follow:pelvis"]
    joints = re.findall(r"(?:ROOT|JOINT) (\S+)", text)
    assert len(joints) == len(set(joints)) == 44
    assert text.count("HIERARCHY") == text.count("MOTION") == 1
    assert len(text.splitlines()[-1].split()) == 2 * 69
    back = bvh.read_performance(text)
    assert back.rotations is not None
    assert duet.rotations is not None
    assert np.abs(back.rotations - duet.rotations).max() < 1e-6


def test_bvh_of_a_duet_is_resampled_as_that_of_a_solo(make_motion: MakeMotion) -> None:
    dancers = (make_motion(frames=25, seed=1, fps=60), make_motion(frames=25, seed=2, fps=60))
    back = bvh.read_performance(bvh.bvh_text(Performance(dancers)))
    for ours, alone in zip(back.dancers, dancers, strict=True):
        np.testing.assert_array_equal(ours.positions, bvh.read_bvh(bvh.bvh_text(alone)).positions)


@pytest.mark.parametrize("prefixes", [("", "x"), ("rig1 rig", "rig2 rig"), ("é:", "è:")])
def test_bvh_roots_without_usable_names_are_numbered(make_motion: MakeMotion, prefixes: tuple[str, str]) -> None:
    text = bvh.bvh_text(Performance((make_motion(frames=2, seed=1), make_motion(frames=2, seed=2))))
    for i, prefix in enumerate(prefixes):
        rename = prefix if prefix.endswith(":") else f"{prefix}:" if prefix else ""
        text = text.replace(f"dancer-{i + 1}:", rename)
    assert bvh.read_performance(text).names == ("dancer-1", "dancer-2")


def test_eight_dancers_fit_every_format(make_motion: MakeMotion) -> None:
    dancers = tuple(moved(make_motion(frames=2, seed=i), i) for i in range(MAX_DANCERS))
    performance = Performance(dancers)
    for fmt, (read, _) in READERS.items():
        assert np.abs(read(encode(performance, fmt)).positions - performance.positions).max() < TOLERANCE
    assert Painter(performance).paint(1).size == (640, 640)


def hue_share(image: np.ndarray, colour: tuple[int, int, int]) -> float:
    """Share of pixels that are bright and have a colour's hue."""
    pixels = image.reshape(-1, 3).astype(float)
    bright = pixels[pixels.max(1) > 90]
    directions = bright / np.linalg.norm(bright, axis=1, keepdims=True)
    return float((directions @ (np.array(colour) / np.linalg.norm(colour)) > 0.985).sum() / len(pixels))


def test_a_frame_shows_both_dancers_each_in_its_colours(duet: Performance) -> None:
    camera = frame_dancers(duet.positions)
    both = np.asarray(Painter(duet, camera).paint(4))
    alone = np.asarray(Painter(duet.dancers[0], camera).paint(4))
    first, second = palette(0), palette(1)
    for colour in (first.left, first.right):
        assert hue_share(both, colour) > 0.001
    for colour in (second.left, second.right):
        assert hue_share(both, colour) > 0.001
        assert hue_share(alone, colour) == 0
    where = np.flatnonzero((np.abs(both.astype(int) - alone) > 60).any(axis=2).any(axis=0))
    seen, _ = camera.project(duet.dancers[1].positions[4])
    assert where.min() > seen[:, 0].min() - 80  # nothing bright has changed but where the second dancer is
    assert where.max() < seen[:, 0].max() + 80


def test_all_palettes_differ() -> None:
    colours = [colour for k in range(MAX_DANCERS) for colour in (palette(k).left, palette(k).right)]
    assert palette(0) == (preview.LEFT, preview.RIGHT, preview.CENTRE)
    distances = [np.abs(np.subtract(a, b)).max() for i, a in enumerate(colours) for b in colours[:i]]
    assert min(distances) > 20


def test_a_nearer_dancer_hides_the_one_behind(make_motion: MakeMotion) -> None:
    motion = make_motion(frames=1, strength=0.1)
    camera = frame_dancers(motion.positions[None])
    step = 0.8 * camera.axes[2].astype(np.float32) * (1, 0, 1)
    behind = Motion((motion.positions + step).astype(np.float32))
    order = [np.asarray(Painter(Performance(pair), camera).paint(0)) for pair in ((motion, behind), (behind, motion))]
    shares = [hue_share(image, palette(0).left) for image in order]
    assert shares[0] > 1.5 * shares[1]


@pytest.mark.parametrize("size", [(640, 640), (854, 480)])
@pytest.mark.parametrize("apart", [(1.5, 0.0), (0.0, 1.5), (-2.0, 2.0)])
def test_the_camera_sees_all_dancers_side_by_side(
    make_motion: MakeMotion, size: tuple[int, int], apart: tuple[float, float]
) -> None:
    one, two = (make_motion(frames=60, seed=seed, strength=0.3).positions for seed in (1, 2))
    two = two - two[:1, :1] * (1, 0, 1) + one[:1, :1] * (1, 0, 1) + np.array([apart[0], 0, apart[1]])
    positions = np.stack([one, two]).astype(np.float32)
    camera = frame_dancers(positions, size)
    pixels, _ = camera.project(positions)
    assert (pixels > 0).all()
    assert (pixels < size).all()
    centres = pixels[:, 0, 0, 0]
    heights = np.ptp(pixels[0, 0, :, 1])
    assert abs(centres[0] - centres[1]) > 0.4 * heights  # neither stands behind the other


def test_the_camera_stands_where_the_dancers_face() -> None:
    standing = np.zeros((1, 22, 3))
    standing[:, :, 1] = np.linspace(0, 1.7, 22)
    standing[:, [1, 16], 0], standing[:, [2, 17], 0] = 0.2, -0.2  # faces +z
    pair = np.stack([standing, standing + np.array([1.0, 0, 0])])
    assert frame_dancers(pair).eye[2] > 1
    assert frame_dancers(pair * (-1, 1, -1)).eye[2] < -1
    assert np.isfinite(frame_dancers(np.stack([standing, standing])).eye).all()


def test_the_film_shows_both_dancers(duet: Performance, tmp_path: Path) -> None:
    films = {"both": duet, "alone": Performance.solo(duet.dancers[0])}
    frames = {}
    for name, performance in films.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(encode(performance, Format.MP4))
        reader = imageio_ffmpeg.read_frames(str(path))
        size = next(reader)["size"]
        frames[name] = [np.frombuffer(frame, np.uint8).reshape(size[1], size[0], 3) for frame in reader]
    assert len(frames["both"]) == len(frames["alone"]) == duet.num_frames
    for image in (frames["both"][0], frames["both"][-1]):
        assert all(hue_share(image, palette(k).left) > 0.001 for k in (0, 1))
    assert hue_share(frames["alone"][0], palette(0).left) > 0.001
    assert hue_share(frames["alone"][0], palette(1).left) < 0.0002


def npz_with(duet: Performance, **changes: Any) -> bytes:
    members = dict(np.load(io.BytesIO(encode(duet, Format.NPZ)))) | changes
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in members.items() if value is not None})
    return buffer.getvalue()


BROKEN = np.zeros((2, 12, 22, 3), np.float32)
BROKEN[1, 3] = np.nan


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"positions": BROKEN}, "start.positions"),
        ({"positions": BROKEN[0]}, "start.positions"),
        ({"positions": np.zeros((3, 12, 22, 3), np.float32)}, "start.positions"),
        ({"positions": np.zeros((2, 0, 22, 3), np.float32)}, "start.positions"),
        ({"rotations": np.zeros((1, 12, 22, 3, 3), np.float32)}, "start.rotations"),
        ({"rotations": np.zeros((2, 12, 22, 3, 3), np.float32)}, "start.rotations"),
        ({"dancers": None}, "start.positions"),
        ({"dancers": np.array([], "U8")}, "start.dancers"),
        ({"dancers": np.array([f"d{i}" for i in range(9)])}, "start.dancers"),
        ({"dancers": np.array(["one", "one"])}, "start.dancers"),
        ({"dancers": np.array(["one", "../two"])}, "start.dancers"),
        ({"dancers": np.array(["one", "t" * 4000])}, "start.dancers"),
        ({"dancers": np.arange(2)}, "start.dancers"),
        ({"dancers": np.array("one")}, "start.dancers"),
    ],
)
def test_a_broken_npz_is_refused_by_name(duet: Performance, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        npz.read_performance(npz_with(duet, **changes), "start")
    assert error.value.field == field


STILL = [[[0.0] * 3] * 22] * 2


@pytest.mark.parametrize(
    ("dancers", "field"),
    [
        ([], "start.dancers"),
        ({}, "start.dancers"),
        ("ab", "start.dancers"),
        ([1, 2], "start.dancers"),
        ([{"name": str(i), "motion": STILL} for i in range(9)], "start.dancers"),
        ([{"motion": STILL}, {}], "start.dancers[1]"),
        ([{"motion": STILL}, {"motion": STILL * 2}], "start.dancers[1]"),
        ([{"motion": STILL}, {"motion": [[["a"] * 3] * 22]}], "start.dancers[1]"),
        ([{"motion": STILL}, {"motion": [[[None] * 3] * 22] * 2}], "start.dancers[1]"),
        ([{"motion": STILL}, {"motion": [[[1e300] * 3] * 22] * 2}], "start.dancers[1]"),
        ([{"motion": STILL, "name": "a"}, {"motion": STILL, "name": "a"}], "start.names"),
        ([{"motion": STILL, "name": "a"}, {"motion": STILL}], "start.names"),
        ([{"motion": STILL, "name": "a"}, {"motion": STILL, "name": ["b"]}], "start.names"),
    ],
)
def test_a_broken_json_is_refused_by_name(dancers: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        json_format.read_performance(json.dumps({"dancers": dancers, "fps": 30}).encode(), "start")
    assert error.value.field == field


def test_json_without_names_is_numbered() -> None:
    data = json.dumps({"dancers": [{"motion": STILL}] * 2, "fps": 30}).encode()
    assert json_format.read_performance(data).names == ("dancer-1", "dancer-2")


def test_a_bvh_whose_second_skeleton_is_not_human_is_refused(duet: Performance) -> None:
    text = bvh.bvh_text(duet)
    for part in ("knee", "ankle", "foot"):  # a dancer of one leg
        text = text.replace(f"follow:left_{part}", f"follow:wheel_{part}twist")
    start = text.index("JOINT follow:left_hip")
    knee = text.index("JOINT follow:wheel_kneetwist", start)
    text = text[:knee] + text[knee:].replace("OFFSET 0.000000 -41.000000 0.000000", "OFFSET 0.0 -4.0 0.0", 1)
    text = text.replace("OFFSET 0.000000 -42.000000 -2.000000", "OFFSET 0.0 -2.0 0.0", 2)
    with pytest.raises(InvalidInput, match="left_knee") as error:
        bvh.read_performance(text, "start")
    assert error.value.field == "start"


def test_a_camera_next_to_the_dancers_is_left_out_with_a_note(duet: Performance) -> None:
    head, _, rest = bvh.bvh_text(duet).partition("MOTION")
    lines = rest.split("\n")
    rows = [f"{line} 1 2 3" if line and not line.startswith("Frame") else line for line in lines]
    camera = "ROOT Camera { OFFSET 0 0 0 CHANNELS 3 Xposition Yposition Zposition }\n"
    read = bvh.read_performance(f"{head}{camera}MOTION" + "\n".join(rows))
    assert read.names == duet.names
    np.testing.assert_allclose(read.positions, bvh.read_performance(bvh.bvh_text(duet)).positions, atol=1e-5)
    assert "'Camera' is left out" in read.meta["notes"][0]


def test_a_second_dancer_spoilt_after_construction_is_withheld(make_motion: MakeMotion) -> None:
    dancers = (make_motion(frames=2, seed=1), make_motion(frames=2, seed=2))
    dancers[1].positions[0, 0, 0] = np.nan
    with pytest.raises(NonFiniteOutput):
        encode(Performance(dancers), Format.JSON)
