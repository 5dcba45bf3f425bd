"""Rigid fit: exact where positions are rigid, calmer than a fit of directions where they are not."""

import numpy as np

from choreo.motion import kinematics
from choreo.motion.skeleton import BONE_LENGTHS, PARENTS
from choreo.postprocess.rigid_fit import fit_rigid

from .synthetic_walk import noisy, walk


def test_rigid_motion_is_its_own_fit() -> None:
    clean = walk(60)
    fitted = fit_rigid(clean)
    assert np.abs(fitted.positions - clean).max() < 1e-9
    assert fitted.residual < 1e-9


def test_positions_are_forward_kinematics_with_canonical_bones() -> None:
    fitted = fit_rigid(noisy(walk(60), 0.02))
    assert np.allclose(kinematics.forward_kinematics(fitted.root, fitted.local), fitted.positions, atol=1e-12)
    lengths = np.linalg.norm(fitted.positions[:, 1:] - fitted.positions[:, PARENTS[1:]], axis=-1)
    assert np.allclose(lengths, BONE_LENGTHS[1:], atol=1e-12)


def test_noise_is_not_amplified_along_the_limbs() -> None:
    clean = walk(196)
    given = noisy(clean, 0.01)

    def error(positions: np.ndarray) -> float:
        return float(np.linalg.norm(positions - clean, axis=-1).mean())

    assert error(fit_rigid(given).positions) < 1.05 * error(given)
    assert error(fit_rigid(given).positions) < 0.75 * error(kinematics.fit(given).positions)


def test_bones_of_wrong_length_leave_the_pose_as_it_was() -> None:
    clean = walk(60)
    stretched = clean[:, [0]] + 1.05 * (clean - clean[:, [0]])
    assert np.linalg.norm(fit_rigid(stretched).positions - clean, axis=-1).mean() < 0.01
