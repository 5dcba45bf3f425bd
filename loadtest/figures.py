"""The figures of a run, computed from its raw samples."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from choreo.motion.skeleton import FPS
from loadtest.samples import Outcome, Sample

PERCENTS: Final = (50, 90, 95, 99, 100)


@dataclass(frozen=True)
class Window:
    """The time whose requests count, in seconds from the start of the run."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Length of the window, at least 1 ns so that it can be a divisor."""
        return max(self.end - self.start, 1e-9)

    def holds(self, time: float) -> bool:
        """Whether a time is inside the window."""
        return self.start <= time < self.end


@dataclass(frozen=True)
class Spread:
    """Percentiles of durations in seconds; None if there are no durations.

    Percentiles are measured values (nearest rank): the p-th is the smallest value that at least p percent of the values
    do not exceed. With fewer than 100 values p99 is the maximum.
    """

    count: int
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """The percentiles of values in any order."""
        ordered = sorted(values)
        return cls(len(ordered), *(percentile(ordered, p) for p in PERCENTS))


@dataclass(frozen=True)
class Kind:
    """Figures of one kind of request."""

    requests: int
    latency: Spread


@dataclass(frozen=True)
class Figures:
    """What a run measured.

    Attributes:
        label: name of the run.
        seconds: length of the window that counts.
        requests, outcomes: number of requests whose intended start is in the window, in total and by outcome.
        latency: seconds from the intended start of served requests to the end of their answers.
        offered_per_s: intended starts per second.
        served_per_s, motion_s_per_s: served requests that ended per second, and seconds of motion in their answers.
        good_per_s: those of them within the latency objective; None without an objective.
        good_share: share of requests within the objective, of those that had to be served and were not interrupted.
        shed_rate, error_rate: share of the sent requests that was turned away, or failed.
        drop_rate: share of all requests that the generator could not send.
        lag: seconds from intended to actual start, which is the generator's own delay.
        errors: number of failures by kind of request and error.
        kinds: figures of served and refused requests by kind.
    """

    label: str
    seconds: float
    requests: int
    outcomes: dict[str, int]
    latency: Spread
    offered_per_s: float
    served_per_s: float
    motion_s_per_s: float
    good_per_s: float | None
    good_share: float | None
    shed_rate: float
    error_rate: float
    drop_rate: float
    lag: Spread
    errors: dict[str, int]
    kinds: dict[str, Kind]

    def document(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return asdict(self)


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile of ascending values; None if there are none."""
    if not ordered:
        return None
    return ordered[max(math.ceil(percent * len(ordered) / 100), 1) - 1]


def figures(label: str, samples: Sequence[Sample], window: Window, objective_s: float | None = None) -> Figures:
    """Figures of the requests whose intended start is in the window.

    Throughput counts answers that ended in the window: those that started in the warm-up make up for those that end
    after the window.

    Args:
        objective_s: latency within which a served request is good, seconds.
    """
    counted = [s for s in samples if window.holds(s.intended)]
    outcomes = Counter(s.outcome for s in counted)
    served = [s for s in counted if s.outcome is Outcome.SERVED]
    done = [s for s in samples if s.outcome is Outcome.SERVED and s.ended is not None and window.holds(s.ended)]
    unsent = outcomes[Outcome.DROPPED] + outcomes[Outcome.UNFINISHED]
    sent = max(len(counted) - unsent, 1)
    to_serve = max(len(counted) - outcomes[Outcome.REFUSED] - outcomes[Outcome.UNFINISHED], 1)
    wrong = (s for s in counted if s.error is not None)
    return Figures(
        label=label,
        seconds=window.seconds,
        requests=len(counted),
        outcomes={outcome.value: outcomes[outcome] for outcome in Outcome},
        latency=Spread.of(s.latency for s in served),
        offered_per_s=len(counted) / window.seconds,
        served_per_s=len(done) / window.seconds,
        motion_s_per_s=sum(s.frames for s in done) / FPS / window.seconds,
        good_per_s=None if objective_s is None else _good(done, objective_s) / window.seconds,
        good_share=None if objective_s is None else _good(served, objective_s) / to_serve,
        shed_rate=outcomes[Outcome.SHED] / sent,
        error_rate=outcomes[Outcome.FAILED] / sent,
        drop_rate=outcomes[Outcome.DROPPED] / max(len(counted), 1),
        lag=Spread.of(s.started - s.intended for s in counted if s.started is not None),
        errors=dict(Counter(f"{s.kind}: {s.error}" for s in wrong).most_common()),
        kinds=_kinds(counted),
    )


def _good(served: Iterable[Sample], objective_s: float) -> int:
    return sum(s.latency <= objective_s for s in served)


def _kinds(samples: Sequence[Sample]) -> dict[str, Kind]:
    kinds: dict[str, list[Sample]] = {}
    for sample in samples:
        kinds.setdefault(sample.kind, []).append(sample)
    right = (Outcome.SERVED, Outcome.REFUSED)
    return {
        name: Kind(len(those), Spread.of(s.latency for s in those if s.outcome in right))
        for name, those in sorted(kinds.items())
    }
