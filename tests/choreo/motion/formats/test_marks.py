"""Marks of feet and beats, sizes of films, and GIFs."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from made_rigs import stepping
from PIL import Image

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats import marks
from choreo.motion.formats.camera import frame_dancers
from choreo.motion.formats.gif import MAX_SECONDS, gif_bytes
from choreo.motion.formats.marks import BEAT, Marks, beat_times
from choreo.motion.formats.mp4 import film_bytes
from choreo.motion.formats.preview import LEFT, RIGHT, Painter
from choreo.motion.formats.view import SIZES, Film, film_size
from choreo.motion.performance import Performance

Pixels = np.ndarray


def standing(left_up: bool = False) -> Motion:
    """Three frames on both feet, or with the left one in the air."""
    positions = np.repeat(stepping(1).positions, 3, axis=0)
    if left_up:
        positions[:, [7, 10], 1] += 0.4
    return Motion(positions, 30)


def painted(dance: Motion | Performance, index: int = 1, marked: bool = True) -> Pixels:
    return np.asarray(Painter(dance, marks=marked).paint(index)).astype(int)


def feet_of(motion: Motion) -> dict[str, int]:
    """How many pixels each foot's mark covers on an empty image."""
    performance = Performance.solo(motion)
    camera = frame_dancers(performance.positions)
    found = {}
    for name, colours in (("left", ((255, 0, 0), (0, 0, 0))), ("right", ((0, 0, 0), (0, 255, 0)))):
        image = Image.new("RGB", camera.size)
        Marks(performance, [colours]).paint_feet(image, 1, camera)
        found[name] = int((np.asarray(image).max(axis=2) > 40).sum())
    return found


def test_a_foot_that_stands_is_marked_and_one_in_the_air_is_not() -> None:
    both, one = feet_of(standing()), feet_of(standing(left_up=True))
    assert min(both.values()) > 200
    assert one["left"] == 0
    assert one["right"] > 200


def test_marks_lie_on_the_floor_below_the_feet() -> None:
    motion = standing()
    performance = Performance.solo(motion)
    camera = frame_dancers(performance.positions)
    image = Image.new("RGB", camera.size)
    Marks(performance, [(LEFT, RIGHT)]).paint_feet(image, 1, camera)
    rows, columns = np.nonzero(np.asarray(image).max(axis=2) > 40)
    below = motion.positions[1, [7, 8, 10, 11]] * (1, 0, 1)
    pixels, _ = camera.project(below)
    assert pixels[:, 0].min() - 40 < columns.min() < columns.max() < pixels[:, 0].max() + 40
    assert rows.min() > pixels[:, 1].min() - 40
    assert rows.max() < pixels[:, 1].max() + 40


def test_the_bar_lights_up_at_a_beat_and_fades() -> None:
    motion = stepping(60)
    performance = Performance((motion,), {"beats": [0.5, 1.5]})
    painter = Painter(performance, marks=True)
    rows = {frame: np.asarray(painter.paint(frame))[-2, 320].astype(int) for frame in (0, 14, 15, 18, 30, 45)}
    light = {frame: int((row * np.array(BEAT)).sum()) for frame, row in rows.items()}
    assert np.abs(rows[15] - BEAT).max() < 10
    assert light[15] > light[18] > light[30]
    assert light[45] > 0.9 * light[15]
    assert light[0] == light[14]


def test_without_marks_nothing_changes(motion: Motion) -> None:
    beaten = Performance((motion,), {"beats": [0.0]})
    np.testing.assert_array_equal(painted(beaten, marked=False), np.asarray(Painter(motion).paint(1)))
    assert (painted(beaten) != painted(beaten, marked=False)).any()


@pytest.mark.parametrize("said", [None, "120", {"a": 1}, [0, "x"], [float("nan")], [True], []])
def test_beats_that_are_none(said: object) -> None:
    assert len(beat_times(said)) == 0


def test_a_camera_above_the_foot_draws_no_giant_disc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "RADIUS", 100.0)
    assert set(feet_of(standing()).values()) == {0}


def test_sizes_have_names() -> None:
    assert film_size(" 1080P") == (1920, 1080)
    assert {size: film_size(size) for size in SIZES} == SIZES
    with pytest.raises(InvalidInput, match="square, 720p, 1080p") as error:
        film_size("8k")
    assert error.value.field == "size"


def test_a_film_of_two_in_720p(make_motion: Callable[..., Motion]) -> None:
    duet = Performance((make_motion(frames=3, seed=1), make_motion(frames=3, seed=2)), {"beats": [0.05]})
    data = film_bytes(duet, view=Film(size=SIZES["720p"], marks=True))
    assert data[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("fps", "frames", "expected", "duration"), [(30, 60, 40, 50), (12.5, 25, 25, 80), (60, 3, 1, 50)]
)
def test_a_gif_keeps_its_length(
    make_motion: Callable[..., Motion], fps: float, frames: int, expected: int, duration: int
) -> None:
    image = Image.open(io.BytesIO(gif_bytes(make_motion(frames=frames, fps=fps), Film(size=(64, 64)))))
    assert (image.format, image.size, getattr(image, "n_frames", 1)) == ("GIF", (64, 64), expected)
    if expected > 1:
        assert (image.info["loop"], image.info["duration"]) == (0, duration)


def test_a_long_gif_is_the_beginning() -> None:
    still = Motion(np.repeat(stepping(1).positions, 30, axis=0), 1.0)
    image = Image.open(io.BytesIO(gif_bytes(still, Film(size=(32, 32)))))
    total = 0
    for frame in range(getattr(image, "n_frames", 1)):
        image.seek(frame)
        total += image.info["duration"]
    assert total / 1000 <= MAX_SECONDS
