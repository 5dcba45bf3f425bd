"""Step dances of the synthetic choreographer beside mocap of the same kinds of dance.

Each dance is danced `--dances` times, at tempos spread over its own. `beat alignment` is to its own beats, `of shifted
beats` to the same beats half a beat later. Mocap is that of the data set whose clips say which dance they are; it is
for comparison only, and its beats, which were tracked, are known for some dances. `seconds per dance` is the time of
making the motion on this machine. Powers of acceleration by frequency show whether joints move as smoothly as in mocap.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray

from bench.command import DATA, benchmark, quick
from bench.report import Row, skipped
from choreo.data.datasets import open_dataset
from choreo.data.synthetic.step_dances.catalogue import STEP_DANCES
from choreo.data.synthetic.step_dances.dancing import StepDanced, dance_steps
from choreo.evaluation.beat_alignment import beat_alignment_score
from choreo.evaluation.kinematics import jerk, kinetic_energy
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.skeleton import FPS, L_KNEE, PELVIS, R_KNEE

Positions = NDArray[np.floating]

RECORDED: Final[Mapping[str, tuple[str, ...]]] = {
    "waltz": ("W_",), "rumba": ("R_",), "cha_cha": ("C_",), "tango": ("T_",), "salsa": ("60_", "61_"),
}  # fmt: skip
"""Beginnings of the keys of the data pack's recordings of a dance."""


def fastest(positions: Positions) -> float:
    """Highest speed of a joint, m/s."""
    return float(np.linalg.norm(np.diff(np.asarray(positions, np.float64), axis=0), axis=-1).max(initial=0) * FPS)


_WINDOW: Final = 128
"""Frames of which a spectrum is taken."""


def acceleration_power(positions: Positions, joints: tuple[int, ...], low: float, high: float) -> float:
    """Median over windows and joints of the power of the acceleration between two frequencies, (m/s2)^2.

    Args:
        positions: (T, 22, 3) metres; not a number where T is less than a window of 128 frames.
        joints: whose.
        low, high: Hz.
    """
    frequency = np.fft.rfftfreq(_WINDOW - 2, 1 / FPS)
    band = (frequency >= low) & (frequency < high)
    taper = np.hanning(_WINDOW - 2)[:, None, None]
    powers = []
    for start in range(0, len(positions) - _WINDOW + 1, _WINDOW):
        window = np.asarray(positions[start : start + _WINDOW, joints], np.float64)
        spectrum = np.abs(np.fft.rfft(np.diff(window, n=2, axis=0) * FPS**2 * taper, axis=0)) ** 2
        powers.append(spectrum[band].sum((0, 2)) * 2 / (taper**2).sum() / (_WINDOW - 2))
    return float(np.median(powers)) if powers else float("nan")


METRICS: Final[Mapping[str, tuple[Callable[[Positions], float], str]]] = {
    "foot skating": (foot_skating_ratio, "share"),
    "kinetic energy": (kinetic_energy, "m2/s2"),
    "jerk": (jerk, "m/s3"),
    "fastest joint": (fastest, "m/s"),
    "pelvis, 1 to 3 Hz": (partial(acceleration_power, joints=(PELVIS,), low=1, high=3), "m2/s4"),
    "knees, 2 to 5 Hz": (partial(acceleration_power, joints=(L_KNEE, R_KNEE), low=2, high=5), "m2/s4"),
    "knees, 5 to 15 Hz": (partial(acceleration_power, joints=(L_KNEE, R_KNEE), low=5, high=15), "m2/s4"),
}


@benchmark
def main(
    data: Annotated[Path | None, DATA] = None,
    dances: Annotated[int, typer.Option(min=1, max=1000, help="Dances of each kind.")] = 8,
    seconds: Annotated[float, typer.Option(min=2, max=120, help="Length of each.")] = 30.0,
    short: Annotated[bool, quick("one dance of 5 s of each kind")] = False,
) -> Iterator[Row]:
    """Figures of each dance, then those of mocap."""
    for name in STEP_DANCES:
        yield from _danced(name, 1 if short else dances, 5.0 if short else seconds)
    if data is None:
        yield skipped("mocap", "give --data")
        return
    dataset = open_dataset(data)
    for name, beginnings in RECORDED.items():
        keys = tuple(key for key in dataset.keys if key.startswith(beginnings))
        recorded = [clip.positions() for clip in dataset.clips(keys)]
        if recorded:
            yield from _rows(f"{name}, mocap", [_measured(positions) for positions in recorded])
        else:
            yield skipped(f"{name}, mocap", "the data set has none")


def _danced(name: str, count: int, seconds: float) -> Iterator[Row]:
    began = time.perf_counter()
    tempos = np.linspace(*STEP_DANCES[name].tempos, count)
    made = [dance_steps(name, float(tempo), seconds, seed) for seed, tempo in enumerate(tempos)]
    took = time.perf_counter() - began
    yield from _rows(name, [_measured(each.motion.positions) for each in made])
    yield Row(name, "beat alignment", _mean_alignment(made, 0.0), "")
    yield Row(name, "beat alignment of shifted beats", _mean_alignment(made, 0.5), "")
    yield Row(name, "seconds per dance", round(took / count, 3), "s")


def _measured(positions: Positions) -> list[float]:
    return [metric(positions) for metric, _ in METRICS.values()]


def _mean_alignment(made: list[StepDanced], shift: float) -> float:
    """To beats that come later by `shift` of a beat."""
    scores = [beat_alignment_score(d.motion.positions, d.beats + shift * (d.beats[1] - d.beats[0])) for d in made]
    return round(float(np.mean([score for score in scores if score is not None])), 3)


def _rows(case: str, values: list[list[float]]) -> Iterator[Row]:
    """Means; of the fastest joint, the highest; of clips that are too short for a figure, none."""
    for (name, (_, unit)), column in zip(METRICS.items(), np.array(values).T, strict=True):
        known = column[np.isfinite(column)]
        if len(known):
            yield Row(case, name, round(float(known.max() if name == "fastest joint" else known.mean()), 3), unit)


if __name__ == "__main__":
    sys.exit(main())
