"""Speeds of joints over a whole data set, in memory that does not grow with it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.skeleton import FPS, JOINT_NAMES, NUM_JOINTS

WIDTH: Final = 0.01
"""Metres per second of a bin, the error of quantiles."""
LAST: Final = 40.0
"""Speeds above count in the last bin; the maximum is exact all the same."""


def speeds(positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Speeds (T - 1, 22) in m/s of joints (T, 22, 3) at 30 fps, by first differences; the root's travel included."""
    return np.linalg.norm(np.diff(np.asarray(positions, np.float64), axis=0), axis=-1) * FPS


class SpeedHistogram:
    """Mean, quantiles and maximum of every joint's speed, from a histogram per joint.

    Attributes:
        frames: that were counted.
        maximum: (22,) m/s.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.maximum = np.zeros(NUM_JOINTS)
        self._total = np.zeros(NUM_JOINTS)
        self._counts = np.zeros((NUM_JOINTS, round(LAST / WIDTH)), np.int64)

    def add(self, values: NDArray[np.floating]) -> None:
        """Count speeds (N, 22), m/s."""
        if not len(values):
            return
        self.frames += len(values)
        self.maximum = np.maximum(self.maximum, values.max(0))
        self._total += values.sum(0)
        bins = np.minimum((values / WIDTH).astype(np.int64), self._counts.shape[1] - 1)
        for joint in range(NUM_JOINTS):
            self._counts[joint] += np.bincount(bins[:, joint], minlength=self._counts.shape[1])

    def mean(self) -> NDArray[np.float64]:
        """(22,) m/s, zeros of no frames."""
        return self._total / max(self.frames, 1)

    def quantile(self, share: float) -> NDArray[np.float64]:
        """(22,) m/s that `share` of the frames do not exceed, to `WIDTH`; zeros of no frames."""
        if not self.frames:
            return np.zeros(NUM_JOINTS)
        reached = np.cumsum(self._counts, axis=1) >= share * self.frames
        return np.minimum((reached.argmax(1) + 1) * WIDTH, self.maximum)

    def document(self) -> list[dict[str, float | str]]:
        """A row per joint, the fastest first by the 99 % quantile."""
        columns = zip(JOINT_NAMES, self.mean(), self.quantile(0.5), self.quantile(0.99), self.maximum, strict=True)
        rows: list[dict[str, float | str]] = [
            {
                "joint": name, "mean": round(float(mean), 3), "median": round(float(median), 3),
                "p99": round(float(high), 3), "max": round(float(top), 3),
            }
            for name, mean, median, high, top in columns
        ]  # fmt: skip
        return sorted(rows, key=lambda row: (-float(row["p99"]), str(row["joint"])))
