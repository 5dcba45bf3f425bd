"""The targets for a checkpoint, as checks on the rows of an evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

from choreo.evaluation.retrieval_precision import POOL
from choreo.evaluation.scorecard import Row

RELIABLE_EMBEDDINGS: Final = 640
"""Number of dances from which the Frechet distance in the text-motion space is checked."""
CONTROLS: Final = ("untrained", "mean_pose", "frames_shuffled")


class Verdict(TypedDict):
    """One check.

    Attributes:
        check: what is checked.
        measured: the value that was measured.
        target: the value that is required.
        met: whether it is met; None where that cannot be decided.
    """

    check: str
    measured: str
    target: str
    met: bool | None


@dataclass(frozen=True)
class _Rows:
    rows: Sequence[Row]

    def row(self, subject: str, metric: str) -> Row | None:
        return next((r for r in self.rows if r["subject"] == subject and r["metric"] == metric), None)

    def value(self, subject: str, metric: str) -> float | None:
        row = self.row(subject, metric)
        return None if row is None else row["value"]

    def interval(self, subject: str, metric: str) -> tuple[float, float] | None:
        row = self.row(subject, metric)
        if row is None or row["ci95"] is None:
            return None
        return row["value"] - row["ci95"], row["value"] + row["ci95"]


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The verdict on every target, in a fixed order.

    Args:
        rows: of all subjects of an evaluation; a target whose rows are missing is undecided.
    """
    found = _Rows(rows)
    return [
        _bound(found, "bones keep their length", "bone_length_deviation", lambda _: (0, 0.01)),
        _bound(found, "feet skate no more than 1.5 x real ones", "foot_skating_ratio", lambda gt: (0, 1.5 * gt)),
        _bound(found, "jerk within 2 x of real motion", "jerk_m_s3", lambda gt: (gt / 2, 2 * gt)),
        _bound(found, "as varied as 70 % of real motion", "dist_k", lambda gt: (0.7 * gt, float("inf"))),
        _on_the_beat(found),
        _near_the_floor(found, "fid_k"),
        *(_better_than(found, control, "fid_k") for control in CONTROLS),
        _near_the_floor(found, "fd_embedding", RELIABLE_EMBEDDINGS),
        _bound(found, "prompts found 3 x as often as by chance", "r_precision_top3", lambda _: (9 / POOL, 1.0)),
        _several(found),
    ]


def _bound(found: _Rows, check: str, metric: str, bounds: Callable[[float], tuple[float, float]]) -> Verdict:
    value, truth = found.value("generated", metric), found.value("gt", metric)
    if value is None or truth is None:
        return _not_measured(check)
    low, high = bounds(truth)
    target = f"{low:.3g} to {high:.3g}" if high < float("inf") else f"at least {low:.3g}"
    return Verdict(check=check, measured=f"{value:.3g} (real {truth:.3g})", target=target, met=low <= value <= high)


def _on_the_beat(found: _Rows) -> Verdict:
    check, metric = "on the beats of its own music, not of another's", "beat_alignment_score"
    own, other = found.interval("generated", metric), found.interval("shuffled", metric)
    real, real_other = found.interval("gt", metric), found.interval("gt_shuffled", metric)
    if not (own and other and real and real_other):
        return _not_measured(check)
    measured = f"{_span(own)}, with another's {_span(other)}; real {_span(real)} and {_span(real_other)}"
    if real[0] <= real_other[1]:
        return Verdict(check=check, measured=measured, target="real motion does not", met=None)
    return Verdict(check=check, measured=measured, target="intervals apart", met=own[0] > other[1])


def _near_the_floor(found: _Rows, metric: str, smallest: int = 0) -> Verdict:
    check = f"{metric} within 3 x of held-out real motion's"
    row, truth = found.row("generated", metric), found.value("gt", metric)
    if row is None or truth is None:
        return _not_measured(check)
    measured = f"{row['value']:.3g} (real {truth:.3g})"
    if row["n"] < smallest:
        return Verdict(check=check, measured=measured, target=f"needs {smallest} dances", met=None)
    return Verdict(check=check, measured=measured, target=f"at most {3 * truth:.3g}", met=row["value"] <= 3 * truth)


def _better_than(found: _Rows, control: str, metric: str) -> Verdict:
    check = f"{metric} below that of {control}"
    value, other = found.value("generated", metric), found.value(control, metric)
    if value is None or other is None:
        return _not_measured(check)
    return Verdict(check=check, measured=f"{value:.3g}", target=f"below {other:.3g}", met=value < other)


def _several(found: _Rows) -> Verdict:
    check, interval = "one prompt gives different dances", found.interval("generated", "multimodality")
    if interval is None:
        return _not_measured(check)
    return Verdict(check=check, measured=_span(interval), target="above 0", met=interval[0] > 0)


def _not_measured(check: str) -> Verdict:
    return Verdict(check=check, measured="not measured", target="", met=None)


def _span(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"
