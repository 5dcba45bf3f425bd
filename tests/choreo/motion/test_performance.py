import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.performance import MAX_DANCERS, Performance


def motion(frames: int = 5, fps: float = 30, height: float = 0.0) -> Motion:
    return Motion(np.full((frames, 22, 3), height, np.float32), fps, meta={"seed": 3})


def test_a_solo_is_its_motion() -> None:
    one = motion(fps=25)
    solo = Performance.solo(one)
    assert Performance.of(one).dancers == Performance.of(solo).dancers == (one,)
    assert Performance.of(solo) is solo
    assert (solo.names, solo.meta, solo.fps, solo.num_frames, solo.seconds) == (("dancer-1",), {"seed": 3}, 25, 5, 0.2)
    back = solo.single()
    assert back.positions is one.positions
    assert (back.fps, back.meta) == (one.fps, one.meta)


def test_several_dancers_share_a_clock() -> None:
    duet = Performance((motion(height=1), motion(height=2)), {"seed": 9}, ("lead", "follow"))
    assert (duet.names, duet.fps, duet.num_frames) == (("lead", "follow"), 30, 5)
    assert duet.positions.shape == (2, 5, 22, 3)
    assert duet.positions[:, 0, 0, 0].tolist() == [1, 2]
    assert duet.rotations is None
    assert Performance((motion(),) * 3).names == ("dancer-1", "dancer-2", "dancer-3")
    with pytest.raises(InvalidInput, match="must be one dancer, got 2: lead, follow") as error:
        duet.single("start")
    assert error.value.field == "start"


def test_rotations_are_those_of_all_or_none() -> None:
    fitted = Motion(np.zeros((2, 22, 3), np.float32), 30, np.tile(np.eye(3, dtype=np.float32), (2, 22, 1, 1)))
    both = Performance((fitted, fitted)).rotations
    assert both is not None
    assert both.shape == (2, 2, 22, 3, 3)
    assert Performance((fitted, motion(2))).rotations is None


@pytest.mark.parametrize(
    ("dancers", "names", "field"),
    [
        ((), (), "dancers"),
        ((motion(),) * (MAX_DANCERS + 1), (), "dancers"),
        ((motion(5), motion(6)), (), "dancers[1]"),
        ((motion(), motion(), motion(fps=60)), (), "dancers[2]"),
        ((motion(), motion()), ("one",), "names"),
        ((motion(), motion()), ("one", "one"), "names"),
        ((motion(),), ("",), "names"),
        ((motion(),), ("x" * 33,), "names"),
        ((motion(),), ("a:b",), "names"),
        ((motion(),), ("../a",), "names"),
        ((motion(),), ("a\n",), "names"),
        ((motion(),), ("ダンサー",), "names"),
    ],
)
def test_what_is_no_performance_is_refused(dancers: tuple[Motion, ...], names: tuple[str, ...], field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        Performance(dancers, {}, names)
    assert error.value.field == field
    assert len(error.value.message) < 250


def test_a_second_dancer_that_is_not_finite_is_refused() -> None:
    positions = np.zeros((5, 22, 3), np.float32)
    positions[2, 3, 1] = np.nan
    with pytest.raises(InvalidInput, match="NaN"):
        Performance((motion(), Motion(positions)))
