"""Contact sheets, and labels above dancers."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.contact_sheet import BEATS, CELL, MARGIN, contact_sheet, frames_around
from choreo.motion.formats.preview import Painter
from choreo.motion.performance import Performance

MakeMotion = Callable[..., Motion]


def test_eight_beats_from_the_first_to_the_last_with_the_frames_around_them() -> None:
    beats = np.arange(0.5, 15, 0.5)
    before, at, after = frames_around(beats, 450, 30.0)
    assert at.tolist() == [15, 75, 135, 195, 255, 315, 375, 435]
    assert (before == at - 4).all()
    assert (after == at + 4).all()
    assert frames_around(beats, 450, 30.0)[1, -1] == round(beats[-1] * 30)


def test_few_beats_have_few_columns_and_none_are_replaced_by_equal_distances() -> None:
    assert frames_around([1.0, 2.0, 99.0, -1.0], 90, 30.0)[1].tolist() == [30, 60]
    assert frames_around([], 160, 30.0)[1].tolist() == [10, 30, 50, 70, 90, 110, 130, 150]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40), st.integers(1, 300), st.floats(1, 120))
def test_frames_are_of_the_motion_and_in_order(beats: list[float], frames: int, fps: float) -> None:
    found = frames_around(beats, frames, fps)
    assert found.shape[0] == 3
    assert 1 <= found.shape[1] <= BEATS
    assert found.min() >= 0
    assert found.max() < frames
    assert (np.diff(found, axis=0) >= 0).all()
    assert (np.diff(found, axis=1) >= 0).all()


def test_a_sheet_has_a_cell_per_frame_under_its_title(make_motion: MakeMotion) -> None:
    motion = make_motion(frames=30, strength=0.3)
    sheet = np.asarray(contact_sheet(motion, np.array([[0, 5], [20, 25]]), "Waltz"))
    assert sheet.shape == (MARGIN + 2 * CELL[1], 2 * CELL[0], 3)
    cells = [sheet[MARGIN + r : MARGIN + r + CELL[1], c : c + CELL[0]] for r in (0, CELL[1]) for c in (0, CELL[0])]
    assert all((cells[0] != cell).any() for cell in cells[1:])
    untitled = np.asarray(contact_sheet(motion, np.array([[0, 5], [20, 25]])))
    assert (untitled[:MARGIN] != sheet[:MARGIN]).any()
    assert (untitled[MARGIN:] == sheet[MARGIN:]).all()


def test_labels_are_above_the_heads_of_their_dancers(make_motion: MakeMotion) -> None:
    one, other = make_motion(frames=5, strength=0.2), make_motion(frames=5, seed=1, strength=0.2)
    pair = Performance((one, Motion(other.positions + np.array([3, 0, 0], np.float32))))
    plain = np.asarray(Painter(pair).paint(2), int)
    painter = Painter(pair, labels=("A", "B"))
    labelled = np.asarray(painter.paint(2), int)
    rows, columns = np.nonzero((plain != labelled).any(axis=-1))
    heads, _ = painter.camera.at(2).project(pair.positions[:, 2, 15])
    middle = heads[:, 0].mean()
    for x, y in heads:
        near = (columns < middle) == (x < middle)
        assert abs(columns[near].mean() - x) < 12
        assert rows[near].max() < y


def test_labels_must_be_one_per_dancer(motion: Motion) -> None:
    with pytest.raises(InvalidInput) as caught:
        Painter(motion, labels=("A", "B"))
    assert caught.value.field == "labels"
