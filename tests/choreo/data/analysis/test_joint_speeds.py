import numpy as np
import pytest

from choreo.data.analysis.joint_speeds import LAST, WIDTH, SpeedHistogram, speeds
from choreo.motion.skeleton import JOINT_NAMES, NUM_JOINTS

WRIST = JOINT_NAMES.index("left_wrist")


def test_a_joint_that_moves_a_centimetre_a_frame_has_30_cm_per_second() -> None:
    positions = np.zeros((4, NUM_JOINTS, 3))
    positions[:, WRIST, 2] = 0.01 * np.arange(4)
    found = speeds(positions)
    assert found.shape == (3, NUM_JOINTS)
    np.testing.assert_allclose(found[:, WRIST], 0.3)
    assert found[:, :WRIST].max() == 0


def test_quantiles_are_numpys_to_the_width_of_a_bin() -> None:
    values = np.random.default_rng(0).gamma(2.0, 0.6, (5000, NUM_JOINTS))
    histogram = SpeedHistogram()
    for part in np.array_split(values, 7):
        histogram.add(part)
    assert histogram.frames == 5000
    np.testing.assert_allclose(histogram.mean(), values.mean(0))
    np.testing.assert_array_equal(histogram.maximum, values.max(0))
    for share in (0.5, 0.99, 1.0):
        np.testing.assert_allclose(
            histogram.quantile(share), np.quantile(values, share, axis=0, method="inverted_cdf"), atol=WIDTH, rtol=0
        )


def test_speeds_beyond_the_last_bin_keep_their_maximum() -> None:
    histogram = SpeedHistogram()
    histogram.add(np.full((2, NUM_JOINTS), 3 * LAST))
    assert histogram.document()[0]["max"] == 3 * LAST
    assert histogram.document()[0]["p99"] == pytest.approx(LAST)


def test_the_fastest_joint_comes_first_and_nothing_gives_zeros() -> None:
    histogram = SpeedHistogram()
    histogram.add(np.zeros((0, NUM_JOINTS)))
    assert {row["p99"] for row in histogram.document()} == {0}
    values = np.zeros((10, NUM_JOINTS))
    values[:, WRIST] = 2
    histogram.add(values)
    assert histogram.document()[0] == {"joint": "left_wrist", "mean": 2, "median": 2, "p99": 2, "max": 2}
