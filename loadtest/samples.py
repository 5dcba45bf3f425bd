"""What happened to every request: one sample each, kept as a line of JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from choreo.errors import InvalidArtifact


class Outcome(StrEnum):
    """How a request ended.

    SERVED: with what it asked for. REFUSED: a bad request, with the refusal that it must get. SHED: turned away by a
    server that is full (429 or 503, both with Retry-After). FAILED: anything else that came back, or nothing. DROPPED:
    never sent, because the generator had too many in flight. UNFINISHED: under way when the run was stopped.
    """

    SERVED = "served"
    REFUSED = "refused"
    SHED = "shed"
    FAILED = "failed"
    DROPPED = "dropped"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: of HTTP; None where none came.
        bytes: of the body.
        frames: of motion in it.
        error: what was wrong, in a few words without the particulars, so that equal ones can be counted.
        pause_s: how long a patient caller waits before it asks again.
    """

    outcome: Outcome
    status: int | None = None
    bytes: int = 0
    frames: int = 0
    error: str | None = None
    pause_s: float = 0.0


@dataclass(frozen=True)
class Sample:
    """One request. Times are seconds from the start of the run.

    Attributes:
        index: its number in the scenario.
        kind: what was asked for.
        intended: when it should have started: in an open loop its arrival; in a closed one when its user was free.
        started: when it was sent; None if it was not.
        ended: when its answer had come; None if none was waited for.
    """

    index: int
    kind: str
    intended: float
    started: float | None
    ended: float | None
    outcome: Outcome
    status: int | None = None
    bytes: int = 0
    frames: int = 0
    error: str | None = None

    @classmethod
    def of(cls, index: int, kind: str, times: tuple[float, float, float], answer: Answer) -> Self:
        """A request that was sent; `times` are intended start, start and end."""
        intended, started, ended = (round(t, 6) for t in times)
        seen = answer.outcome is not Outcome.UNFINISHED
        body = (answer.status, answer.bytes, answer.frames, answer.error)
        return cls(index, kind, intended, started, ended if seen else None, answer.outcome, *body)

    @classmethod
    def dropped(cls, index: int, kind: str, intended: float) -> Self:
        """A request that the generator could not send."""
        return cls(index, kind, round(intended, 6), None, None, Outcome.DROPPED, error="too many in flight")

    @property
    def latency(self) -> float:
        """Seconds from the intended start to the answer: what a caller waits, whoever kept the caller waiting.

        Raises:
            ValueError: it has no end.
        """
        if self.ended is None:
            raise ValueError(f"request {self.index} has no end")
        return self.ended - self.intended

    def line(self) -> str:
        """As a line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"


class SampleLog:
    """Context manager: a new file that takes every sample as it comes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("x", encoding="utf-8", buffering=1)
        self.counts = dict.fromkeys(Outcome, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, sample: Sample) -> None:
        """Write one."""
        self._file.write(sample.line())
        self.counts[sample.outcome] += 1

    def progress(self, seconds: float) -> str:
        """One line on how things stand."""
        return f"{seconds:.0f} s  " + "  ".join(f"{outcome} {n}" for outcome, n in self.counts.items() if n)


def read_samples(path: Path) -> list[Sample]:
    """The samples of a file; a last line that was cut off is left out.

    Raises:
        InvalidArtifact: a line is no sample.
    """
    return list(_parse(path))


def _parse(path: Path) -> Iterator[Sample]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith("\n"):
                return
            try:
                fields = json.loads(line)
                yield Sample(**fields | {"outcome": Outcome(fields["outcome"])})
            except (ValueError, TypeError, KeyError) as error:
                raise InvalidArtifact(f"{path}: line {number} is no sample") from error
