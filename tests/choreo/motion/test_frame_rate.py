import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_training import clips

from choreo.errors import InvalidInput
from choreo.motion.clip import MAX_FRAMES, Motion
from choreo.motion.frame_rate import at_frame_rate, check_rate
from choreo.motion.kinematics import fit, posed
from choreo.motion.skeleton import BONE_LENGTHS, PARENTS

FITTED = fit(clips()[0].positions()[:90])
DANCE = Motion(posed(FITTED.root, FITTED.world).astype(np.float32), 30, FITTED.local.astype(np.float32), {"seed": 3})


@settings(max_examples=20, deadline=None)
@given(fps=st.floats(1, 120))
def test_bones_keep_their_lengths_and_nothing_is_added_at_the_end(fps: float) -> None:
    out = at_frame_rate(DANCE, fps)
    assert (out.num_frames - 1) / fps <= 89 / 30 + 1e-6 < out.num_frames / fps + 1e-6
    assert (out.fps, out.meta) == (fps, DANCE.meta)
    bones = np.linalg.norm(out.positions[:, 1:] - out.positions[:, list(PARENTS[1:])], axis=-1)
    np.testing.assert_allclose(bones, np.broadcast_to(BONE_LENGTHS[1:], bones.shape), atol=1e-5)


@pytest.mark.parametrize("rotations", [True, False])
def test_frames_that_both_rates_have_are_the_same(rotations: bool) -> None:
    dance = DANCE if rotations else Motion(DANCE.positions, 30)
    twice, half = at_frame_rate(dance, 60), at_frame_rate(dance, 15)
    assert (twice.num_frames, half.num_frames) == (179, 45)
    np.testing.assert_allclose(twice.positions[::2], DANCE.positions, atol=1e-5)
    np.testing.assert_allclose(half.positions, DANCE.positions[::2], atol=1e-5)
    assert (twice.rotations is not None) == rotations


def test_the_frames_between_are_smooth() -> None:
    fast = at_frame_rate(DANCE, 120).positions.astype(np.float64)
    step = np.abs(np.diff(DANCE.positions.astype(np.float64), n=2, axis=0)).max()
    assert np.abs(np.diff(fast, n=2, axis=0)).max() < 2 * step / 16  # accelerations are those of 30 fps


def test_a_single_frame_has_any_rate() -> None:
    assert at_frame_rate(Motion(DANCE.positions[:1], 30, DANCE.rotations[:1]), 24).fps == 24  # type: ignore[index]


@pytest.mark.parametrize("fps", [0.0, -1.0, 0.5, 121.0, 1e9, float("nan"), float("inf")])
def test_rates_out_of_range_are_refused(fps: float) -> None:
    with pytest.raises(InvalidInput, match="between 1 and 120") as caught:
        check_rate(fps)
    assert caught.value.field == "fps"


def test_an_hour_has_only_so_many_frames() -> None:
    check_rate(30, MAX_FRAMES, 30)
    with pytest.raises(InvalidInput, match="more than 108000 frames"):
        check_rate(60, MAX_FRAMES, 30)
