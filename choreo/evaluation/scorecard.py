"""Every metric in one table, and all those that can be computed for a set of motions beside a reference set."""

from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal, TypedDict

from choreo.evaluation.figures import (
    RECALLS,
    Figure,
    of_clips,
    of_dance_features,
    of_embeddings,
    of_pairs,
)
from choreo.evaluation.motions import Motions
from choreo.evaluation.retrieval_precision import POOL, TOPS

Need = Literal["positions", "beats", "motion embeddings", "motion and text embeddings"]
Better = Literal["lower", "higher", "closer"]

CLIPS: Final = 30
"""Clips from which the mean of a number per clip is taken for normally distributed."""
SET: Final = 300
"""Clips from which neighbours and ranks are taken for settled."""
PER_DIMENSION: Final = 10
"""Clips per feature from which a Frechet distance is believed."""


@dataclass(frozen=True)
class Metric:
    """What is known of a metric before it is computed.

    Attributes:
        name: in rows.
        needs: what motions must bring along for it.
        better: which way is up; "closer" is closer to the value of real motion.
        smallest: motions below which a value is not sound.
        per_dimension: the same, per feature of its space.
    """

    name: str
    needs: Need
    better: Better
    smallest: int = CLIPS
    per_dimension: int = 0


METRICS: Final = (
    Metric("foot_skating_ratio", "positions", "lower"),
    Metric("lodge_foot_slide_ratio", "positions", "lower"),
    Metric("physical_foot_contact", "positions", "lower"),
    Metric("jerk_m_s3", "positions", "closer"),
    Metric("kinetic_energy_m2_s2", "positions", "closer"),
    Metric("bone_length_deviation", "positions", "lower"),
    Metric("beat_alignment_score", "beats", "closer"),
    Metric("motion_beat_alignment", "beats", "closer"),
    Metric("fid_k", "positions", "lower", per_dimension=PER_DIMENSION),
    Metric("dist_k", "positions", "closer"),
    Metric("precision_k", "positions", "higher", SET),
    Metric("recall_k", "positions", "higher", SET),
    Metric("density_k", "positions", "higher", SET),
    Metric("coverage_k", "positions", "higher", SET),
    Metric("fid_g", "positions", "lower", per_dimension=PER_DIMENSION),
    Metric("dist_g", "positions", "closer"),
    Metric("fd_embedding", "motion embeddings", "lower", per_dimension=PER_DIMENSION),
    Metric("diversity", "motion embeddings", "closer", SET),
    Metric("multimodality", "motion embeddings", "closer"),
    Metric("precision_embedding", "motion embeddings", "higher", SET),
    Metric("recall_embedding", "motion embeddings", "higher", SET),
    Metric("density_embedding", "motion embeddings", "higher", SET),
    Metric("coverage_embedding", "motion embeddings", "higher", SET),
    *(Metric(f"r_precision_top{k}", "motion and text embeddings", "higher", 10 * POOL) for k in TOPS),
    Metric("mm_distance", "motion and text embeddings", "lower"),
    *(Metric(f"recall_at_{k}_text_to_motion", "motion and text embeddings", "higher", SET) for k in RECALLS),
    *(Metric(f"recall_at_{k}_motion_to_text", "motion and text embeddings", "higher", SET) for k in RECALLS),
    Metric("tmr_score_stmc", "motion and text embeddings", "higher"),
    Metric("tmr_score_clipped", "motion and text embeddings", "higher"),
)


class Row(TypedDict):
    """One figure; `ci95` is half the width of its 95 % interval, `n` the motions (conditions) behind it."""

    metric: str
    subject: str
    value: float
    ci95: float | None
    n: int
    note: str


def score(subject: Motions, reference: Motions) -> list[Row]:
    """Everything that can be said of `subject` beside `reference`, in the order of METRICS.

    What cannot be computed (no beats, no embeddings, too few motions to have neighbours) has no row; what can be but
    should not be believed says why in its note. Frechet distances always say what as many motions of the
    reference's own distribution would score.

    Args:
        subject: motions that are judged.
        reference: ground truth, for scales, distances and neighbours.
    Raises:
        InvalidInput: embeddings of different dimensions.
    """
    figures = dict(
        chain(
            of_clips(subject),
            of_dance_features(subject, reference),
            of_embeddings(subject, reference),
            of_pairs(subject),
        )
    )
    return [_row(metric, subject.name, figures[metric.name]) for metric in METRICS if metric.name in figures]


def _row(metric: Metric, subject: str, figure: Figure) -> Row:
    smallest = max(metric.smallest, metric.per_dimension * figure.dim)
    notes = [f"needs {smallest} to be sound"] if figure.n < smallest else []
    notes += [figure.note] if figure.note else []
    return Row(
        metric=metric.name,
        subject=subject,
        value=figure.value,
        ci95=figure.half,
        n=figure.n,
        note="; ".join(notes),
    )
