"""Tables of joint positions."""

import csv
import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from choreo.errors import NonFiniteOutput
from choreo.motion.clip import Motion
from choreo.motion.formats.csv_format import csv_bytes
from choreo.motion.performance import Performance
from choreo.motion.skeleton import JOINT_NAMES

MakeMotion = Callable[..., Motion]


def table(data: bytes) -> tuple[list[str], np.ndarray]:
    names, *rows = csv.reader(io.StringIO(data.decode("ascii"), newline=""))
    return names, np.array(rows, float)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dancers=st.integers(1, 3), frames=st.integers(1, 9), fps=st.floats(1, 240))
def test_any_performance(make_motion: MakeMotion, dancers: int, frames: int, fps: float) -> None:
    performance = Performance(tuple(make_motion(frames=frames, fps=fps, seed=seed) for seed in range(dancers)))
    names, values = table(csv_bytes(performance))
    assert values.shape == (frames, 2 + dancers * 66) == (frames, len(names))
    np.testing.assert_array_equal(values[:, 0], np.arange(frames))
    np.testing.assert_allclose(values[:, 1], np.arange(frames) / fps, atol=1e-6)
    positions = values[:, 2:].reshape(frames, dancers, 22, 3)
    assert np.abs(np.moveaxis(positions, 1, 0) - performance.positions).max() < 1e-4


def test_columns(motion: Motion) -> None:
    names, _ = table(csv_bytes(motion))
    assert names[:5] == ["frame", "time", "pelvis_x", "pelvis_y", "pelvis_z"]
    assert names[2:] == [f"{joint}_{axis}" for joint in JOINT_NAMES for axis in "xyz"]
    names, _ = table(csv_bytes(Performance((motion, motion), names=("lead", "follow"))))
    assert names[2::66] == ["lead:pelvis_x", "follow:pelvis_x"]
    assert len(set(names)) == len(names)


def test_nan_is_not_written(make_motion: MakeMotion) -> None:
    motion = make_motion(frames=3)
    motion.positions[1, 4, 2] = np.nan
    with pytest.raises(NonFiniteOutput):
        csv_bytes(motion)
