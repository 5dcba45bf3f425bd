"""What happened to each request: one sample per request, stored as a line of JSON."""

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

    SERVED: with what it asked for. REFUSED: a bad request, with the refusal that it must get. SHED: turned away by an
    overloaded server (429 or 503 with Retry-After). FAILED: any other answer, or none. DROPPED: not sent, because too
    many requests were in flight. UNFINISHED: in flight when the run was interrupted.
    """

    SERVED = "served"
    REFUSED = "refused"
    SHED = "shed"
    FAILED = "failed"
    DROPPED = "dropped"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Answer:
    """An answer, checked.

    Attributes:
        status: HTTP status; None if there was no answer.
        bytes: size of the body.
        frames: motion frames in the body.
        error: what was wrong, in a few words without particulars, so that equal errors can be counted.
        pause_s: how long a user waits before the next request, seconds.
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
        index: number of the request in the scenario.
        kind: kind of the request.
        intended: intended start: the arrival in an open loop; in a closed one, when the user became free.
        started: when it was sent; None if it was not sent.
        ended: when its answer was complete; None if it was dropped or unfinished.
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
        """The sample of a request that was sent; `times` are intended start, start and end."""
        intended, started, ended = (round(t, 6) for t in times)
        seen = answer.outcome is not Outcome.UNFINISHED
        body = (answer.status, answer.bytes, answer.frames, answer.error)
        return cls(index, kind, intended, started, ended if seen else None, answer.outcome, *body)

    @classmethod
    def dropped(cls, index: int, kind: str, intended: float) -> Self:
        """The sample of a request that the generator could not send."""
        return cls(index, kind, round(intended, 6), None, None, Outcome.DROPPED, error="too many in flight")

    @property
    def latency(self) -> float:
        """Seconds from the intended start to the answer, which includes the generator's own delay.

        Raises:
            ValueError: the request has no end.
        """
        if self.ended is None:
            raise ValueError(f"request {self.index} has no end")
        return self.ended - self.intended

    def line(self) -> str:
        """The sample as a line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"


class SampleLog:
    """Context manager: a new file to which samples are appended as they arrive."""

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
        """Append one sample."""
        self._file.write(sample.line())
        self.counts[sample.outcome] += 1

    def progress(self, seconds: float) -> str:
        """Progress in one line: elapsed seconds and the number of requests by outcome."""
        return f"{seconds:.0f} s  " + "  ".join(f"{outcome} {n}" for outcome, n in self.counts.items() if n)


def read_samples(path: Path) -> list[Sample]:
    """Read the samples of a file; a truncated last line is ignored.

    Raises:
        InvalidArtifact: a line is not a sample.
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
