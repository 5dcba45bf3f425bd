import numpy as np
import pytest
from tests_data import data_pack

from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.retarget import refit, retarget
from choreo.motion.skeleton import BONE_LENGTHS, L_ANKLE, PARENTS, R_ANKLE


def standing(frames: int = 60) -> np.ndarray:
    root = np.zeros((frames, 3))
    root[:, 1] = 0.99
    return forward_kinematics(root, np.broadcast_to(np.eye(3), (frames, 22, 3, 3)))


def bone_error(positions: np.ndarray) -> float:
    lengths = np.linalg.norm(positions[:, 1:] - positions[:, PARENTS[1:]], axis=-1)
    return float(np.abs(lengths - BONE_LENGTHS[1:]).max())


@pytest.mark.parametrize("size", [0.6, 1.0, 1.3])
def test_actors_of_any_size_come_out_canonical_and_on_the_floor(size: float) -> None:
    source = standing() * size
    source[:, :, 1] -= source[:, :, 1].min()
    out = retarget(source).positions
    assert bone_error(out) < 1e-9
    assert abs(out[:, [L_ANKLE, R_ANKLE], 1] - 0.08).max() < 0.01
    assert np.ptp(out, axis=0).max() < 1e-9


def test_a_jump_stays_a_jump() -> None:
    source = standing()
    source[:, :, 1] += 0.3 * np.clip(np.sin(np.linspace(-1.5, 4.6, 60)), 0, None)[:, None]
    out = retarget(source).positions
    assert out[:, [L_ANKLE, R_ANKLE], 1].min(axis=1).max() == pytest.approx(0.38, abs=0.03)


def test_canonical_motion_is_left_alone_as_a_start() -> None:
    source = standing()
    np.testing.assert_array_equal(refit(source), source)
    assert bone_error(refit(source * 1.2)) < 1e-9


@pytest.mark.data
def test_real_feet_do_not_slide_more_than_they_did() -> None:
    pack = np.load(data_pack() / "motion" / "cmu.npz")
    for key in ("60_02", "05_02"):
        source = pack[key].astype(np.float64) / 1000
        out = retarget(source)
        assert bone_error(out.positions) < 1e-9
        assert foot_skating_ratio(out.positions, 30) <= foot_skating_ratio(source, 30) + 0.02
        assert out.residual < 0.15
