"""Joint names of other programs."""

from collections.abc import Callable

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh import bvh_text, read_performance
from choreo.motion.formats.bvh_parser import parse_bvh
from choreo.motion.formats.joint_names import read_names
from choreo.motion.formats.joint_profiles import PROFILES, SMPL, JointProfile, profile_named
from choreo.motion.performance import Performance
from choreo.motion.skeleton import JOINT_NAMES, REST_OFFSETS

MakeMotion = Callable[..., Motion]
every_profile = pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)


@every_profile
def test_names_are_different_and_say_their_side(profile: JointProfile) -> None:
    assert len(set(profile.names)) == 22
    assert profile_named(profile.name.upper()) is profile
    sides = [name.partition("_")[0] for name in JOINT_NAMES]
    for side, read in zip(sides, read_names(profile.names), strict=True):
        assert read.side == (side if side in ("left", "right") else None)


@every_profile
@pytest.mark.parametrize("dancers", [1, 2])
def test_bvh_reads_back(make_motion: MakeMotion, profile: JointProfile, dancers: int) -> None:
    performance = Performance(tuple(make_motion(frames=20, seed=seed) for seed in range(dancers)))
    back = read_performance(bvh_text(performance, profile))
    assert np.abs(back.positions - performance.positions).max() < 1e-4
    assert back.rotations is not None
    assert performance.rotations is not None
    assert np.abs(back.rotations - performance.rotations).max() < 1e-5
    assert "notes" not in back.meta
    if dancers > 1:
        assert back.names == performance.names


@every_profile
def test_the_rest_pose_is_the_t_pose(motion: Motion, profile: JointProfile) -> None:
    bvh = parse_bvh(bvh_text(motion, profile))
    where = [bvh.names.index(f"{profile.namespace}{name}") for name in profile.names]
    np.testing.assert_allclose(bvh.offsets[where], 100 * REST_OFFSETS, atol=1e-5)


def test_smpl_is_the_default(motion: Motion) -> None:
    assert bvh_text(motion) == bvh_text(motion, SMPL)
    assert PROFILES[0] is SMPL


@pytest.mark.parametrize("name", ["", "maya", "x" * 9000])
def test_other_names(name: str) -> None:
    with pytest.raises(InvalidInput, match="smpl, mixamo, vrm, unity, ue5") as error:
        profile_named(name)
    assert error.value.field == "skeleton"
    assert len(error.value.message) < 120
