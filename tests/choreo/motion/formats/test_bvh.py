import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from choreo.errors import InvalidInput
from choreo.motion import kinematics
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh import bvh_text, euler_zxy, read_bvh, write_bvh
from choreo.motion.formats.bvh_parser import Bvh, parse_bvh, position_chunks
from choreo.motion.formats.npz import npz_bytes, read_npz
from choreo.motion.skeleton import JOINT_NAMES, PARENTS, REST_OFFSETS

MILLIMETRE = 1e-3


def bvh_positions(bvh: Bvh) -> np.ndarray:
    """Joint positions (F, J, 3) in file units."""
    return np.concatenate(list(position_chunks(bvh)))


def zxy(angles: np.ndarray) -> np.ndarray:
    """scipy's idea of R = Rz Rx Ry."""
    return Rotation.from_euler("ZXY", angles.reshape(-1, 3), degrees=True).as_matrix().reshape(*angles.shape[:-1], 3, 3)


def test_round_trip_of_positions_and_rotations(motion, tmp_path):
    write_bvh(motion, tmp_path / "clip.bvh")
    read = read_bvh(tmp_path / "clip.bvh")
    assert read.fps == 30
    assert np.abs(read.positions - motion.positions).max() < MILLIMETRE / 10
    assert np.abs(read.rotations - motion.rotations).max() < 1e-6


def test_the_file_is_the_canonical_skeleton_in_centimetres_depth_first(motion):
    text = bvh_text(motion)
    bvh = parse_bvh(text)
    joints = [name for name in bvh.names if not name.endswith("_end")]
    assert joints[:6] == ["pelvis", "left_hip", "left_knee", "left_ankle", "left_foot", "right_hip"]
    assert sorted(joints) == sorted(JOINT_NAMES)
    assert sum(name.endswith("_end") for name in bvh.names) == 5
    for name, parent in zip(JOINT_NAMES[1:], PARENTS[1:], strict=True):
        at = bvh.names.index(name)
        assert bvh.names[bvh.parents[at]] == JOINT_NAMES[parent]
        assert np.allclose(bvh.offsets[at], REST_OFFSETS[JOINT_NAMES.index(name)] * 100)
        assert bvh.channels[at] == ("Zrotation", "Xrotation", "Yrotation")
    assert bvh.channels[0][:3] == ("Xposition", "Yposition", "Zposition")
    assert np.allclose(bvh.frames[:, :3], motion.positions[:, 0] * 100, atol=1e-4)
    assert 1 / bvh.frame_time == pytest.approx(30, abs=1e-6)
    assert "-0.000000 " not in text.partition("MOTION")[2]


def test_npz_and_bvh_agree(make_motion):
    for seed in range(3):
        motion = make_motion(seed=seed, strength=2.0)
        from_npz, bvh = read_npz(npz_bytes(motion)).positions, parse_bvh(bvh_text(motion))
        from_bvh = bvh_positions(bvh)[:, [bvh.names.index(name) for name in JOINT_NAMES]] / 100
        assert np.abs(from_npz - from_bvh).max() < MILLIMETRE


def test_unfitted_motion_is_fitted_first(make_motion):
    motion = make_motion(strength=0.3, fitted=False)
    read = read_bvh(bvh_text(motion))
    assert np.abs(read.positions - kinematics.fit(motion.positions).positions).max() < MILLIMETRE
    assert np.abs(read.positions - motion.positions).max() < MILLIMETRE  # synthetic motion is rigid: the fit is exact


@given(st.lists(st.tuples(*[st.floats(-180, 180)] * 3), min_size=1, max_size=8))
def test_euler_angles_of_any_rotation(angles):
    rotations = zxy(np.array(angles))[:, None]
    assert np.abs(zxy(euler_zxy(rotations)) - rotations).max() < 1e-9


@given(st.floats(-180, 180), st.floats(-1e-3, 1e-3), st.floats(-180, 180), st.sampled_from([-90, 90]))
def test_euler_angles_near_gimbal_lock(z, off, y, lock):
    rotations = zxy(np.array([[z, lock + off, y], [z, lock, y]]))[:, None].astype(np.float32)
    assert np.abs(zxy(euler_zxy(rotations)) - rotations).max() < 1e-6


def test_euler_angles_are_continuous_over_somersaults_and_spins():
    ramp = np.linspace(0, 1080, 400)
    for axis in range(3):
        angles = np.zeros((400, 1, 3))
        angles[..., axis] = ramp[:, None]
        found = euler_zxy(zxy(angles))
        assert np.abs(zxy(found) - zxy(angles)).max() < 1e-9
        assert np.abs(np.diff(found, axis=0)).max() < 3, axis


def test_gimbal_lock_survives_the_file():
    frames = 20
    angles = np.random.default_rng(0).uniform(-180, 180, (frames, 22, 3))
    angles[..., 1] = np.random.default_rng(1).choice([-90, 90, 89.9999, -90.0001], (frames, 22))
    local = zxy(angles)
    positions = kinematics.forward_kinematics(np.zeros((frames, 3)), local).astype(np.float32)
    read = read_bvh(bvh_text(Motion(positions, 30, local.astype(np.float32))))
    assert np.abs(read.positions - positions).max() < MILLIMETRE
    assert np.abs(read.rotations - local).max() < 1e-5


@pytest.mark.parametrize("fps", [25, 29.97, 60, 120])
def test_frame_rates(make_motion, fps):
    motion = make_motion(frames=61, fps=fps)
    text = bvh_text(motion)
    kept = read_bvh(text, fps=None)
    assert kept.fps == pytest.approx(fps)
    assert kept.rotations is not None
    resampled = read_bvh(text)
    assert resampled.fps == 30
    assert resampled.rotations is None
    assert resampled.seconds == pytest.approx(motion.seconds, abs=2 / 30)
    assert np.abs(resampled.positions[0] - motion.positions[0]).max() < MILLIMETRE


def test_a_rounded_frame_time_means_thirty_frames(motion):
    text = bvh_text(motion).replace("0.0333333333", ".0333333")
    assert ".0333333\n" in text
    assert read_bvh(text).rotations is not None


def test_layout_does_not_matter(motion):
    text = bvh_text(motion)
    head, _, values = text.partition("Frame Time:")
    time, _, values = values.strip().partition("\n")
    one_line = f"{head}Frame Time:{time}\n" + values.replace("\n", "\t")
    for variant in (
        text.replace("\n", "\r\n"),
        text.replace("\n", "\r"),
        "\ufeff" + text,
        text.replace("\t", "    "),
        text.replace("CHANNELS", "Channels").replace("Zrotation", "ZROTATION"),
        text.replace("\n\t{", " {").replace("Frames: ", "FRAMES:\t").replace("MOTION", "\nMOTION  "),
        one_line,
    ):
        for source in (variant, variant.encode()):
            assert (read_bvh(source).positions == read_bvh(text).positions).all()


def chain_file(orders: list[str], angles: np.ndarray) -> str:
    """A root and two joints, each with its own channel order."""
    channels = [" ".join(f"{axis}rotation" for axis in order) for order in orders]
    rows = "\n".join(" ".join(map(str, row)) for row in angles)
    return f"""HIERARCHY
ROOT a
{{ OFFSET 1 2 3 CHANNELS 6 Zposition {channels[0]} Xposition Yposition
  JOINT b c
  {{ OFFSET 0 1 0 CHANNELS 3 {channels[1]}
     JOINT d {{ OFFSET 1 0 0 CHANNELS 3 {channels[2]} End Site {{ OFFSET 0 0 2 }} }} }} }}
MOTION
Frames: {len(angles)}
Frame Time: 0.01
{rows}
"""


@given(
    st.lists(st.permutations(["X", "Y", "Z"]).map("".join), min_size=3, max_size=3),
    st.lists(st.tuples(*[st.integers(-400, 400)] * 12), min_size=1, max_size=3),
)
def test_forward_kinematics_of_any_channel_order(orders, rows):
    values = np.array(rows, float)
    bvh = parse_bvh(chain_file(orders, values))
    assert isinstance(bvh, Bvh)
    assert bvh.names == ("a", "b c", "d", "d_end")
    a, b, d = (
        Rotation.from_euler(order, values[:, columns], degrees=True)
        for order, columns in zip(orders, ([1, 2, 3], [6, 7, 8], [9, 10, 11]), strict=True)
    )
    root = values[:, [4, 5, 0]]  # position channels replace the offset
    at_b = root + a.apply([0, 1, 0])
    at_d = at_b + (a * b).apply([1, 0, 0])
    end = at_d + (a * b * d).apply([0, 0, 2])
    assert np.allclose(bvh_positions(bvh), np.stack([root, at_b, at_d, end], 1), atol=1e-9)


def test_long_files_are_computed_in_pieces(make_motion, monkeypatch):
    text = bvh_text(make_motion(frames=50))
    whole = bvh_positions(parse_bvh(text))
    monkeypatch.setattr("choreo.motion.formats.bvh_parser.CHUNK_JOINTS", 27 * 7)
    monkeypatch.setattr("choreo.motion.formats.bvh_frames.CHUNK_CHARS", 13)
    # On some processors the last bit of a sine depends on where in an array it stands.
    np.testing.assert_allclose(bvh_positions(parse_bvh(text)), whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_unusable_scales(motion, scale):
    with pytest.raises(InvalidInput, match=r"^scale"):
        read_bvh(bvh_text(motion), scale=scale)
