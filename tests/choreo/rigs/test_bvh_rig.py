"""BVH rigs: what stays as it was, rest poses, and hostile files."""

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_rigs import Shape, bvh_rig, skeleton
from rig_names import MIXAMO
from scipy.spatial.transform import Rotation

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh_parser import parse_bvh, position_chunks
from choreo.motion.performance import Performance
from choreo.rigs.animate import character_of
from choreo.rigs.bvh_rig import euler

MADE = skeleton(Shape(1.1, arms_down=30), MIXAMO)
GOOD = bvh_rig(MADE)
ONE_ARM = {part: name for part, name in MIXAMO.items() if part not in ("left_elbow", "left_wrist")}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_hierarchy_stays_byte_for_byte(dance: Motion, newline: str) -> None:
    data = GOOD.replace(b"mixamorig:Head", "Kopf_ß".encode("latin-1")).replace(b"\n", newline.encode())
    given_names = data.replace("Kopf_ß".encode("latin-1"), b"Head\xdf")
    written = character_of(given_names, ".bvh").dancing(Performance.solo(dance))
    at = given_names.index(b"MOTION")
    assert written[:at] == given_names[:at]
    assert written[at:].startswith(f"MOTION{newline}Frames: {dance.num_frames}{newline}".encode())


@pytest.mark.parametrize("order", ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"])
def test_angles_are_those_of_the_rotations_and_continuous(order: str) -> None:
    t = np.linspace(0, 1, 200)[:, None]
    rotations = Rotation.from_rotvec(t * (5, 8, -4)).as_matrix()
    angles = euler(rotations, order)
    turned = np.tile(np.eye(3), (len(t), 1, 1))
    for axis, column in zip(order, np.radians(angles).T, strict=True):
        turned = turned @ Rotation.from_rotvec(column[:, None] * np.eye(3)["XYZ".index(axis)]).as_matrix()
    np.testing.assert_allclose(turned, rotations, atol=1e-9)
    assert np.abs(np.diff(angles, axis=0)).max() < 100


def test_gimbal_lock_is_a_rotation_all_the_same() -> None:
    rotations = Rotation.from_euler("ZXY", [[10, 90, 20], [10, 90, 30]], degrees=True).as_matrix()
    back = Rotation.from_euler("ZXY", euler(rotations, "ZXY"), degrees=True).as_matrix()
    np.testing.assert_allclose(back, rotations, atol=1e-6)


def test_a_rest_pose_that_lies_gives_way_to_a_first_frame_that_stands(dance: Motion) -> None:
    """All bones in a row: the first frame is the T pose."""
    made = skeleton(Shape(), MIXAMO)
    plain = parse_bvh(bvh_rig(made).decode())
    text = bvh_rig(made).decode()
    twisted = text.replace("OFFSET 0.000000 -41.000000 0.000000", "OFFSET 0.000000 0.000000 41.000000")
    twisted = twisted.replace("OFFSET 0.000000 -42.000000 -2.000000", "OFFSET 0.000000 0.000000 42.000000")
    head, _, rows = twisted.partition("Frame Time: 0.0333333\n")
    hips = [plain.names.index(MIXAMO[f"{side}_hip"]) for side in ("left", "right")]
    row = np.zeros(plain.frames.shape[1])
    row[1] = 91
    for hip in hips:
        row[sum(map(len, plain.channels[:hip])) + 1] = 90  # about x: from +z to -y
    for ankle in (plain.names.index(MIXAMO[f"{side}_ankle"]) for side in ("left", "right")):
        row[sum(map(len, plain.channels[:ankle])) + 1] = -90
    data = f"{head}Frame Time: 0.0333333\n{' '.join(map(str, row))}\n{rows.splitlines()[0]}\n".encode()
    bvh = parse_bvh(character_of(data, ".bvh").dancing(Performance.solo(dance)).decode())
    places = np.concatenate(list(position_chunks(bvh))) * 0.01
    knees = [bvh.names.index(MIXAMO[f"{side}_knee"]) for side in ("left", "right")]
    ankles = [bvh.names.index(MIXAMO[f"{side}_ankle"]) for side in ("left", "right")]
    assert np.abs(places[:, ankles, 1].min() - 0.08) < 0.03
    source = dance.positions[:, [4, 5]] - dance.positions[:, [1, 2]]
    found = places[:, knees] - places[:, [bvh.names.index(MIXAMO[f"{side}_hip"]) for side in ("left", "right")]]
    assert np.abs(source - found).max() < 0.03


def test_several_dancers_do_not_fit(dance: Motion) -> None:
    with pytest.raises(InvalidInput, match="has one motion") as error:
        character_of(GOOD, ".bvh").dancing(Performance((dance, dance)))
    assert error.value.field == "rig"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no MOTION"),
        (GOOD[: len(GOOD) // 2], "no MOTION"),
        (GOOD[:-40], "cut off or damaged"),
        (GOOD.replace(b"OFFSET ", b"OFFSET nan ", 1), "OFFSET must be a finite"),
        (bvh_rig(skeleton(Shape(), ONE_ARM)), "no joint for 'left_elbow'"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, says: str) -> None:
    with pytest.raises(InvalidInput) as error:
        character_of(data, ".bvh")
    assert error.value.field == "rig"
    assert says in error.value.message


def test_a_million_joints_are_refused() -> None:
    with pytest.raises(InvalidInput, match="too long"):
        character_of(b"HIERARCHY\n" + b"ROOT a { OFFSET 0 0 0\n" * 1_000_000, ".bvh")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"3 Zrotation Xrotation Yrotation", b"3 Zrotation Xrotation Wrotation", "without three axes"),
        (b"6 Xposition Yposition Zposition", b"6 Aposition Bposition Cposition", "no position channels"),
    ],
)
def test_joints_that_cannot_move(dance: Motion, old: bytes, new: bytes, says: str) -> None:
    character = character_of(GOOD.replace(old, new, 1), ".bvh")
    with pytest.raises(InvalidInput, match=says):
        character.dancing(Performance.solo(dance))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10**9), st.sampled_from(b"{}0 9.-e\n\tJXnROFCS:\0")), max_size=5))
def test_damaged_files_dance_or_are_refused(dance: Motion, edits: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in edits:
        data[at % len(data)] = value
    short = Motion(dance.positions[:2], dance.fps, None if dance.rotations is None else dance.rotations[:2])
    with contextlib.suppress(InvalidInput):
        character_of(bytes(data), ".bvh").dancing(Performance.solo(short))
