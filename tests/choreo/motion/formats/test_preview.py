import numpy as np
import pytest

from choreo.motion.clip import Motion
from choreo.motion.formats import preview
from choreo.motion.formats.camera import Camera, frame_dancers
from choreo.motion.formats.preview import Painter
from choreo.motion.performance import Performance
from choreo.motion.skeleton import MIRROR


def frame(dance: Motion | Performance, index: int, camera: Camera | None = None) -> np.ndarray:
    return np.asarray(Painter(dance, camera).paint(index))


def share_of(image: np.ndarray, colour: tuple[int, int, int]) -> float:
    """Share of the pixels whose hue is near a colour's."""
    pixels = image.reshape(-1, 3).astype(float)
    bright = pixels[pixels.max(1) > 90]
    directions = bright / np.linalg.norm(bright, axis=1, keepdims=True)
    near = directions @ (np.array(colour) / np.linalg.norm(colour)) > 0.99
    return near.sum() / len(pixels)


@pytest.mark.parametrize("size", [(640, 640), (854, 480), (320, 640)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_camera_sees_the_whole_motion_and_fills_the_image_with_it(make_motion, size, seed):
    positions = make_motion(frames=120, seed=seed).positions
    camera = frame_dancers(positions[None], size)
    pixels, depth = camera.project(positions)
    assert (pixels > 0).all()
    assert (pixels < size).all()
    assert depth.min() > 0.5
    assert ((pixels.max((0, 1)) - pixels.min((0, 1))) / size).max() > 0.5


def test_the_camera_is_upright_above_the_floor_and_to_the_front():
    standing = np.zeros((1, 22, 3))
    standing[:, :, 1] = np.linspace(0, 1.7, 22)
    standing[:, [1, 16], 0], standing[:, [2, 17], 0] = 0.2, -0.2  # faces +z
    camera = frame_dancers(standing[None])
    assert camera.eye[1] > 0.5
    assert camera.eye[2] > 1
    (feet, head), _ = camera.project(np.array([[0, 0, 0], [0, 1.7, 0]]))
    assert head[1] < feet[1]
    left, right = camera.project(standing[0, [16, 17]])[0]
    assert left[0] > right[0]  # the dancer's left is on the viewer's right


def test_a_frame_shows_both_sides_in_their_colours(motion):
    image = frame(motion, 0)
    assert image.shape == (640, 640, 3)
    assert image.dtype == np.uint8
    for colour in (preview.LEFT, preview.RIGHT, preview.CENTRE):
        assert share_of(image, colour) > 0.002


def test_a_mirrored_dancer_swaps_colours(motion):
    camera = frame_dancers(motion.positions[None])
    swapped = Motion(motion.positions[:, list(MIRROR)])
    one, other = frame(motion, 0, camera), frame(swapped, 0, camera)
    assert share_of(one, preview.LEFT) == pytest.approx(share_of(other, preview.RIGHT), rel=0.5)
    assert (one != other).any()


def test_frames_depend_only_on_their_index(motion):
    painter = Painter(motion, title="Waltz")
    first = np.asarray(painter.paint(3))
    painter.paint(20)
    assert (np.asarray(painter.paint(3)) == first).all()
    assert (np.asarray(painter.paint(20)) != first).any()


def test_titles_of_any_kind(motion):
    plain = np.asarray(Painter(motion).paint(0))
    for title in ("Waltz", "x" * 100_000, "a\nb\0c\x1b[31m", "ダンス 💃", " "):
        image = np.asarray(Painter(motion, title=title).paint(0))
        assert (image[100:560] == plain[100:560]).all()  # a title stays at the top
        assert (image != plain).any() == bool(title.strip())


def test_degenerate_motion_can_be_drawn():
    for positions in (np.zeros((2, 22, 3)), np.full((2, 22, 3), 9e3), np.tile([[[-9e3]], [[9e3]]], (1, 22, 3))):
        motion = Motion(positions.astype(np.float32))
        assert frame(motion, 1).shape == (640, 640, 3)


def test_a_dancer_out_of_view_leaves_an_empty_stage(motion):
    camera = frame_dancers(motion.positions[None])
    away = Camera(camera.eye + np.array([1000.0, 0, 0]), camera.axes, camera.focal, camera.size)
    assert share_of(frame(motion, 0, away), preview.LEFT) == 0
