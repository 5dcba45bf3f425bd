"""Step dances of the synthetic choreographer beside mocap of the same kinds of dance.

Each dance is danced `--dances` times, at tempos spread over its own. `beat alignment` is to its own beats, `of shifted
beats` to the same beats half a beat later. Mocap is that of the data set whose clips say which dance they are; it is
for comparison only, and its beats, which were tracked, are known for some dances. `seconds per dance` is the time of
making the motion on this machine.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
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
from choreo.motion.skeleton import FPS

Positions = NDArray[np.floating]

RECORDED: Final[Mapping[str, tuple[str, ...]]] = {
    "waltz": ("W_",), "rumba": ("R_",), "cha_cha": ("C_",), "tango": ("T_",), "salsa": ("60_", "61_"),
}  # fmt: skip
"""Beginnings of the keys of the data pack's recordings of a dance."""


def fastest(positions: Positions) -> float:
    """Highest speed of a joint, m/s."""
    return float(np.linalg.norm(np.diff(np.asarray(positions, np.float64), axis=0), axis=-1).max(initial=0) * FPS)


METRICS: Final[Mapping[str, tuple[Callable[[Positions], float], str]]] = {
    "foot skating": (foot_skating_ratio, "share"),
    "kinetic energy": (kinetic_energy, "m2/s2"),
    "jerk": (jerk, "m/s3"),
    "fastest joint": (fastest, "m/s"),
}


@benchmark
def main(
    data: Annotated[Path | None, DATA] = None,
    dances: Annotated[int, typer.Option(min=1, max=1000, help="Dances of each kind.")] = 8,
    seconds: Annotated[float, typer.Option(min=2, max=120, help="Length of each.")] = 30.0,
    short: Annotated[bool, quick("one dance of 4 s of each kind")] = False,
) -> Iterator[Row]:
    """Figures of each dance, then those of mocap."""
    for name in STEP_DANCES:
        yield from _danced(name, 1 if short else dances, 4.0 if short else seconds)
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
    """Means; of the fastest joint, the highest."""
    for (name, (_, unit)), column in zip(METRICS.items(), np.array(values).T, strict=True):
        value = column.max() if name == "fastest joint" else column.mean()
        yield Row(case, name, round(float(value), 3), unit)


if __name__ == "__main__":
    sys.exit(main())
