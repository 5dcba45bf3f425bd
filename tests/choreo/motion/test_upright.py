import numpy as np
import pytest
from dataset_files import dance, t_pose

from choreo.errors import InvalidInput
from choreo.motion import rotations as rot
from choreo.motion.kinematics import heading
from choreo.motion.skeleton import HEAD, PELVIS
from choreo.motion.upright import AXES, UP_CHOICES, Upright, check_up, find_up, rest_up

TURNED = [axis for axis in AXES if axis != "y"]


def with_up(positions: np.ndarray, axis: str) -> np.ndarray:
    """A motion with y up in a world where another axis is up."""
    return positions @ Upright(axis).rotation


def lying(positions: np.ndarray, height: float) -> np.ndarray:
    """The motion on the back, head towards -z, on a floor at y = 0 or in the air; its travel is taken out."""
    still = positions - positions[:, [PELVIS]]
    turned = still @ rot.axis_angle(np.array([1.0, 0.0, 0.0]), -np.pi / 2).T
    return turned - [0, turned[..., 1].min(), 0] + [0, height, 0] + np.array([0.4, 0, 1.1])


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("seed", range(4))
def test_a_dance_is_turned_upright_and_its_handedness_stays(axis: str, seed: int) -> None:
    found = find_up([with_up(dance(seed), axis)], rest=axis)
    assert found.axis == axis
    turned = found.turned(with_up(dance(seed), axis))
    above = turned[:, HEAD] - turned[:, PELVIS]
    assert (above[:, 1] / np.linalg.norm(above, axis=1)).mean() > 0.8
    assert np.allclose(np.linalg.det(found.rotation), 1)
    assert bool(found.note) == (axis != "y")
    assert axis in found.note or axis == "y"


@pytest.mark.parametrize("axis", TURNED)
@pytest.mark.parametrize("rest", ["y", None])
def test_a_dance_that_stands_on_the_floor_is_turned_whatever_the_format_says(axis: str, rest: str | None) -> None:
    assert find_up([with_up(dance(1), axis)], rest=rest).axis == axis


def test_z_up_becomes_y_up_as_blender_turns_it() -> None:
    """y up and facing +z is imported as z up and facing -y."""
    np.testing.assert_allclose(Upright("z").turned(np.array([1.0, 2.0, 3.0])), [1, 3, -2])
    facing = with_up(t_pose()[None], "z")
    assert heading(Upright("z").turned(facing))[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("height", [0.0, 0.3, 0.9])
def test_a_dancer_who_lies_is_not_put_on_the_feet(seed: int, height: float) -> None:
    on_the_floor = lying(dance(seed), height)
    assert find_up([on_the_floor], rest="y").axis == "y"
    assert find_up([with_up(on_the_floor, "z")], rest="z").axis == "z"  # nor in a file with z up
    assert find_up([with_up(on_the_floor, "z")], convention="z", rest="z").axis == "z"


def test_floor_work_and_standing_on_the_head_are_not_turned() -> None:
    standing, floor = dance(2), lying(dance(2), 0.0)
    on_the_head = dance(2) * [1, -1, -1]
    on_the_head = on_the_head - [0, on_the_head[..., 1].min(), 0]
    for parts in ([standing, floor, floor], [floor, standing], [on_the_head, on_the_head, standing]):
        assert find_up([np.concatenate(parts)], rest="y").axis == "y"


def test_partners_are_judged_together() -> None:
    assert find_up([dance(0), lying(dance(1), 0.0)], rest="y").axis == "y"
    both = find_up([with_up(dance(0), "z"), with_up(dance(1), "z")], rest="z")
    assert both.axis == "z"


def test_an_axis_that_is_asked_for_is_taken() -> None:
    for axis in AXES:
        assert find_up([dance()], axis).axis == axis
    assert "asked for" in find_up([dance()], "-Z").note
    assert not find_up([dance()], "+y").note


def test_the_convention_of_a_format_is_no_news() -> None:
    found = find_up([with_up(dance(), "z")], convention="z", rest="z")
    assert (found.axis, found.note) == ("z", "")
    found = find_up([dance(1)], convention="z", rest="z")
    assert found.axis == "y"
    assert "is not turned: y is up" in found.note


@pytest.mark.parametrize("up", ["", "w", "up", "--z", "zz", "y" * 100])
def test_other_words_are_refused(up: str) -> None:
    with pytest.raises(InvalidInput) as error:
        check_up(up)
    assert error.value.field == "up"
    assert ", ".join(UP_CHOICES) in error.value.message


@pytest.mark.parametrize("axis", AXES)
def test_the_way_up_of_a_rest_pose(axis: str) -> None:
    assert rest_up(with_up(t_pose(), axis)) == axis


def test_a_rest_pose_that_does_not_stand_says_nothing() -> None:
    assert rest_up(np.zeros((22, 3))) is None
    folded = t_pose()
    folded[[4, 5, 7, 8, 10, 11], 1] = folded[PELVIS, 1] + 0.4
    assert rest_up(folded) is None
