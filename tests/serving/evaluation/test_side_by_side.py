"""Two dances to one song in one scene."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.performance import Performance
from choreo.motion.skeleton import PELVIS
from serving.evaluation.side_by_side import OFFSET, Pair, figures, one_scene, write_pair


def dance(frames: int, at: tuple[float, float] = (0, 0), fps: float = 30, seed: int = 0) -> Performance:
    """A rest pose that sways along a path that begins anywhere."""
    rest = forward_kinematics(np.array([at[0], 0.95, at[1]]), np.broadcast_to(np.eye(3), (22, 3, 3)))
    path = np.sin(np.arange(frames) / 5 + seed)[:, None, None] * (0.1, 0.02, 0.1)
    return Performance.solo(Motion((rest + path).astype(np.float32), fps))


@given(st.floats(-50, 50), st.floats(-50, 50), st.integers(2, 30), st.integers(2, 30))
def test_both_begin_beside_the_middle_and_keep_their_motion(x: float, z: float, long: int, short: int) -> None:
    first, second = dance(long, (x, z)), dance(short, (-z, x), seed=1)
    scene = one_scene((first, second))
    assert scene.num_frames == min(long, short)
    begin = scene.positions[:, 0, PELVIS]
    np.testing.assert_allclose(begin[:, [0, 2]], [[-OFFSET, 0], [OFFSET, 0]], atol=1e-4)
    for before, after in zip((first, second), scene.positions, strict=True):
        moved = after - before.positions[0, : scene.num_frames]
        assert np.abs(moved - moved[0, 0]).max() < 1e-4
        assert np.abs(moved[..., 1]).max() < 1e-6  # the floor stays where it is


def test_different_frame_rates_are_refused() -> None:
    with pytest.raises(InvalidInput):
        one_scene((dance(9), dance(9, fps=60)))


def test_a_film_and_a_sheet_of_a_pair(tmp_path: Path) -> None:
    pair = Pair("song", (dance(12), dance(10, seed=1)), np.array([0.1, 0.2]))
    write_pair(pair, tmp_path / "a.mp4", tmp_path / "a.png", None)
    assert b"ftyp" in (tmp_path / "a.mp4").read_bytes()[:16]
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.format == "PNG"


def test_figures_of_both_over_all_songs() -> None:
    beats = np.array([0.5, 1.0])
    pairs = [Pair(str(i), (dance(60, seed=i), dance(60, fps=30, seed=3 * i)), beats) for i in range(3)]
    found = figures(pairs)
    assert found["jerk_m_s3"]["A"]["n"] == found["jerk_m_s3"]["B"]["n"] == 3
    assert found["jerk_m_s3"]["A"]["ci95"] > 0
    assert found["beat_alignment_score"]["A"]["value"] != found["beat_alignment_score"]["B"]["value"]
    assert figures(pairs[:1])["jerk_m_s3"]["A"]["ci95"] is None
