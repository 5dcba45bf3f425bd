"""The table of all metrics, and the scores of a set of motions against a reference set."""

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
from choreo.evaluation.prdc import NEIGHBOURS
from choreo.evaluation.retrieval_precision import POOL, TOPS

Need = Literal["positions", "beats", "motion embeddings", "motion and text embeddings"]
Better = Literal["lower", "higher", "closer"]

CLIPS: Final = 30
"""Number of clips above which the mean of a metric per clip is treated as normally distributed."""
SET: Final = 300
"""Number of clips above which metrics of neighbours and ranks are considered stable."""
NO_INTERVAL: Final = "not enough samples for an interval"
PER_DIMENSION: Final = 10
"""Clips per feature above which a Frechet distance is considered reliable."""


@dataclass(frozen=True)
class Metric:
    """A row of the table of metrics.

    Attributes:
        name: as in `Row.metric`.
        needs: the data of the motions that it is computed from.
        better: which direction is better; "closer" means closer to the value of real motion.
        smallest: least number of motions for a reliable value.
        per_dimension: the same per dimension of the feature space.
        fewest: least number of motions with which it has a value at all.
    """

    name: str
    needs: Need
    better: Better
    smallest: int = CLIPS
    per_dimension: int = 0
    fewest: int = 1


METRICS: Final = (
    Metric("foot_skating_ratio", "positions", "lower"),
    Metric("lodge_foot_slide_ratio", "positions", "lower"),
    Metric("foot_slide_mm", "positions", "lower"),
    Metric("float_percent", "positions", "lower"),
    Metric("foot_float_cm", "positions", "closer"),
    Metric("foot_penetration_cm", "positions", "lower"),
    Metric("travel_m_s", "positions", "closer"),
    Metric("physical_foot_contact", "positions", "lower"),
    Metric("jerk_m_s3", "positions", "closer"),
    Metric("jitter_10_m_s3", "positions", "closer"),
    Metric("dynamic_degree_m_s", "positions", "closer"),
    Metric("kinetic_energy_m2_s2", "positions", "closer"),
    Metric("bone_length_deviation", "positions", "lower"),
    Metric("beat_alignment_score", "beats", "closer"),
    Metric("motion_beat_alignment", "beats", "closer"),
    Metric("fid_k", "positions", "lower", per_dimension=PER_DIMENSION, fewest=2),
    Metric("dist_k", "positions", "closer", fewest=2),
    Metric("precision_k", "positions", "higher", SET, fewest=NEIGHBOURS + 1),
    Metric("recall_k", "positions", "higher", SET, fewest=NEIGHBOURS + 1),
    Metric("density_k", "positions", "higher", SET, fewest=NEIGHBOURS + 1),
    Metric("coverage_k", "positions", "higher", SET, fewest=NEIGHBOURS + 1),
    Metric("fid_g", "positions", "lower", per_dimension=PER_DIMENSION, fewest=2),
    Metric("dist_g", "positions", "closer", fewest=2),
    Metric("fd_embedding", "motion embeddings", "lower", per_dimension=PER_DIMENSION, fewest=2),
    Metric("diversity", "motion embeddings", "closer", SET, fewest=2),
    Metric("multimodality", "motion embeddings", "closer", fewest=2),
    Metric("precision_embedding", "motion embeddings", "higher", SET, fewest=NEIGHBOURS + 1),
    Metric("recall_embedding", "motion embeddings", "higher", SET, fewest=NEIGHBOURS + 1),
    Metric("density_embedding", "motion embeddings", "higher", SET, fewest=NEIGHBOURS + 1),
    Metric("coverage_embedding", "motion embeddings", "higher", SET, fewest=NEIGHBOURS + 1),
    *(Metric(f"r_precision_top{k}", "motion and text embeddings", "higher", 10 * POOL, fewest=POOL) for k in TOPS),
    Metric("mm_distance", "motion and text embeddings", "lower"),
    *(Metric(f"recall_at_{k}_text_to_motion", "motion and text embeddings", "higher", SET) for k in RECALLS),
    *(Metric(f"recall_at_{k}_motion_to_text", "motion and text embeddings", "higher", SET) for k in RECALLS),
    Metric("tmr_score_stmc", "motion and text embeddings", "higher"),
    Metric("tmr_score_clipped", "motion and text embeddings", "higher"),
)


class Row(TypedDict):
    """One score.

    Attributes:
        metric: name of a `Metric`.
        subject: name of the set of motions.
        value: of the metric.
        ci95: half the width of its 95 % interval, or None.
        n: number of motions (or conditions) it was computed from.
        note: reservations about it.
    """

    metric: str
    subject: str
    value: float
    ci95: float | None
    n: int
    note: str


def score(subject: Motions, reference: Motions) -> list[Row]:
    """All metrics of `subject` that can be computed, in the order of METRICS.

    A metric that cannot be computed (no beats, no embeddings, too few motions for neighbours) has no row; the note of
    an unreliable one says why. The note of a Frechet distance gives what as many motions of the reference's own
    distribution would score.

    Args:
        subject: motions to score.
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
    notes += [NO_INTERVAL] if figure.half is None else []
    notes += [figure.note] if figure.note else []
    return Row(
        metric=metric.name,
        subject=subject,
        value=figure.value,
        ci95=figure.half,
        n=figure.n,
        note="; ".join(notes),
    )
