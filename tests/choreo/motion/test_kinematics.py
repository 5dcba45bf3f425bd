import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from choreo.motion import rotations as rot
from choreo.motion.kinematics import fit, forward_kinematics, heading, local_rotations, world_rotations
from choreo.motion.skeleton import BONE_LENGTHS, MIRROR, NUM_JOINTS, PARENTS, REST_OFFSETS, children

seeds = st.integers(0, 2**32 - 1)


def random_pose(seed: int, frames: int = 4, spread: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    local = Rotation.from_rotvec(rng.normal(0, spread, (frames * NUM_JOINTS, 3))).as_matrix()
    return rng.normal(size=(frames, 3)), local.reshape(frames, NUM_JOINTS, 3, 3)


def test_identity_rotations_give_the_rest_pose() -> None:
    positions = forward_kinematics(np.zeros(3), np.broadcast_to(np.eye(3), (NUM_JOINTS, 3, 3)))
    for joint in range(1, NUM_JOINTS):
        np.testing.assert_allclose(positions[joint] - positions[PARENTS[joint]], REST_OFFSETS[joint])
    np.testing.assert_allclose(positions[list(MIRROR)] * (-1, 1, 1), positions, atol=1e-12)


@given(seeds)
def test_bones_keep_their_length_under_any_rotation(seed: int) -> None:
    positions = forward_kinematics(*random_pose(seed, spread=3.0))
    lengths = np.linalg.norm(positions[:, 1:] - positions[:, PARENTS[1:]], axis=-1)
    np.testing.assert_allclose(lengths, np.broadcast_to(BONE_LENGTHS[1:], lengths.shape), atol=1e-12)


@given(seeds)
def test_six_numbers_and_back(seed: int) -> None:
    _, local = random_pose(seed, spread=3.0)
    np.testing.assert_allclose(rot.from_six(rot.to_six(local)), local, atol=1e-9)
    np.testing.assert_allclose(local_rotations(world_rotations(local)), local, atol=1e-9)


@given(seeds)
@settings(max_examples=50)
def test_the_fit_of_rigid_motion_is_exact(seed: int) -> None:
    positions = forward_kinematics(*random_pose(seed))
    rigid = fit(positions)
    np.testing.assert_allclose(rigid.positions, positions, atol=1e-9)
    assert rigid.residual < 1e-9
    np.testing.assert_allclose(np.linalg.det(rigid.local), 1, atol=1e-9)
    for leaf in (j for j in range(NUM_JOINTS) if not children(j)):
        np.testing.assert_allclose(rigid.local[:, leaf], np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-9)


@given(seeds, st.floats(-3.0, 3.0))
@settings(max_examples=50)
def test_the_fit_turns_with_its_input(seed: int, angle: float) -> None:
    rng = np.random.default_rng(seed)
    positions = forward_kinematics(*random_pose(seed)) + rng.normal(0, 0.01, (4, NUM_JOINTS, 3))
    turn = rot.yaw(angle)
    np.testing.assert_allclose(fit(positions @ turn.T).positions, fit(positions).positions @ turn.T, atol=1e-6)


def test_headings_follow_the_body() -> None:
    rest = forward_kinematics(np.zeros(3), np.broadcast_to(np.eye(3), (NUM_JOINTS, 3, 3)))
    for angle in (-2.0, 0.0, 0.7, 3.0):
        np.testing.assert_allclose(heading(rest @ rot.yaw(angle).T), angle, atol=1e-12)


@given(seeds, st.sampled_from([0.0, 1e-12, 1e-9, 1e-6, 1e-3, 0.1, 1.0]), st.sampled_from([-1.0, 1.0]))
def test_shortest_arcs_turn_one_direction_onto_the_other_without_twist(seed: int, off: float, sign: float) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(5, 3)) * 10.0 ** rng.uniform(-3, 3, (5, 1))
    b = sign * rot.normalize(a) + off * rng.normal(size=(5, 3))
    turn = rot.shortest_arc(a, b)
    np.testing.assert_allclose((turn @ rot.normalize(a)[..., None])[..., 0], rot.normalize(b), atol=1e-7)
    np.testing.assert_allclose(np.swapaxes(turn, -1, -2) @ turn, np.broadcast_to(np.eye(3), (5, 3, 3)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(turn), 1, atol=1e-9)
    angle = Rotation.from_matrix(turn).magnitude()
    expected = np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1))
    np.testing.assert_allclose(angle, expected, atol=1e-6)


def test_vectors_of_no_length_are_not_turned() -> None:
    some = np.array([0.3, -2.0, 0.1])
    for a, b in ((some, 0 * some), (0 * some, some), (0 * some, 0 * some)):
        np.testing.assert_array_equal(rot.shortest_arc(a, b), np.eye(3))


@given(seeds)
def test_products_are_those_of_numpy(seed: int) -> None:
    a, b = np.random.default_rng(seed).normal(size=(2, 4, 5, 3))
    np.testing.assert_allclose(rot.cross(a, b[:, :1]), np.cross(a, b[:, :1]), atol=1e-12)
    np.testing.assert_allclose(rot.dot(a, b), (a * b).sum(-1), atol=1e-12)


def test_opposite_directions_have_a_shortest_arc() -> None:
    a = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, -1.0]])
    np.testing.assert_allclose((rot.shortest_arc(a, -a) @ a[..., None])[..., 0], -a, atol=1e-9)
