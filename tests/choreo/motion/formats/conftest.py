"""Synthetic motion: forward kinematics of smooth random rotations on the canonical skeleton."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from choreo.motion.clip import Motion
from choreo.motion.kinematics import forward_kinematics

MakeMotion = Callable[..., Motion]


@pytest.fixture(scope="session")
def make_motion() -> MakeMotion:
    def make(frames: int = 40, seed: int = 0, fps: float = 30, strength: float = 1.0, fitted: bool = True) -> Motion:
        rng = np.random.default_rng(seed)
        vectors = gaussian_filter1d(rng.normal(size=(frames, 22, 3)), 4, axis=0, mode="nearest") * 2.5 * strength
        local = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(frames, 22, 3, 3)
        steps = gaussian_filter1d(rng.normal(size=(frames, 3)), 4, axis=0, mode="nearest")
        root = np.cumsum(steps * (0.05, 0.01, 0.05), axis=0) + np.array([0, 0.95, 0])
        positions = forward_kinematics(root, local).astype(np.float32)
        meta = {"seed": seed, "prompt": "a slow waltz", "phrases": [1, 2]}
        return Motion(positions, fps, local.astype(np.float32) if fitted else None, meta)

    return make


@pytest.fixture(scope="session")
def motion(make_motion: MakeMotion) -> Motion:
    return make_motion()
