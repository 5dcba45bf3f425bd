"""Metric values of a set of motions with intervals: per clip, in feature spaces, and of text-motion pairs."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from choreo.evaluation.beat_alignment import beat_alignment_score, motion_beat_alignment
from choreo.evaluation.checks import Array
from choreo.evaluation.diversity import diversity, mean_distance, multimodality
from choreo.evaluation.floating import float_percent
from choreo.evaluation.foot_height import foot_float_cm, foot_penetration_cm
from choreo.evaluation.foot_slide import foot_slide_mm
from choreo.evaluation.frechet import (
    DANCE_EPS,
    HUMANML3D_EPS,
    frechet_distance,
    frechet_floor,
    frechet_of_moments,
    moments,
)
from choreo.evaluation.intervals import Rows, half_sampling, mean_interval, share_interval
from choreo.evaluation.kinematics import bone_length_deviation, dynamic_degree, jerk, jitter, kinetic_energy
from choreo.evaluation.lodge_foot_slide import lodge_foot_slide_ratio
from choreo.evaluation.motions import Motions
from choreo.evaluation.physical_foot_contact import physical_foot_contact
from choreo.evaluation.prdc import NEIGHBOURS, prdc_of_distances, radii
from choreo.evaluation.retrieval_precision import TOPS, r_precision, recall_at
from choreo.evaluation.standardise import standardise
from choreo.evaluation.tmr_score import tmr_score_clipped, tmr_score_stmc
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.travel import travel

RECALLS: Final = (1, 5, 10)
CONSTANT: Final = 1e-9
"""A feature whose standard deviation in the reference is smaller than this cannot be standardised."""


@dataclass(frozen=True)
class Figure:
    """The value of one metric.

    Attributes:
        value: the number.
        half: half the width of its 95 % interval; None if that cannot be estimated.
        n: number of motions (or conditions) it was computed from.
        dim: dimension of the feature space; 0 for metrics without one.
        note: reservations about it.
    """

    value: float
    half: float | None
    n: int
    dim: int = 0
    note: str = ""


Figures = Iterator[tuple[str, Figure]]
ClipMetric = Callable[[Array, ArrayLike, float], float | None]

CLIP_METRICS: Final[dict[str, ClipMetric]] = {
    "foot_skating_ratio": lambda p, beats, fps: foot_skating_ratio(p, fps),
    "lodge_foot_slide_ratio": lambda p, beats, fps: lodge_foot_slide_ratio(p, fps),
    "foot_slide_mm": lambda p, beats, fps: foot_slide_mm(p, fps),
    "float_percent": lambda p, beats, fps: float_percent(p, fps),
    "foot_float_cm": lambda p, beats, fps: foot_float_cm(p),
    "foot_penetration_cm": lambda p, beats, fps: foot_penetration_cm(p),
    "travel_m_s": lambda p, beats, fps: travel(p, fps) * fps / len(p),
    "physical_foot_contact": lambda p, beats, fps: physical_foot_contact(p, fps),
    "jerk_m_s3": lambda p, beats, fps: jerk(p, fps),
    "jitter_10_m_s3": lambda p, beats, fps: jitter(p, fps),
    "dynamic_degree_m_s": lambda p, beats, fps: dynamic_degree(p, fps),
    "kinetic_energy_m2_s2": lambda p, beats, fps: kinetic_energy(p, fps),
    "bone_length_deviation": lambda p, beats, fps: bone_length_deviation(p),
    "beat_alignment_score": beat_alignment_score,
    "motion_beat_alignment": motion_beat_alignment,
}


def of_clips(motions: Motions) -> Figures:
    """Means of the metrics of single clips, each over the clips for which it is defined."""
    all_beats = motions.beats if motions.beats is not None else [None] * len(motions)
    clips = [(p, () if beats is None else beats) for p, beats in zip(motions.positions, all_beats, strict=True)]
    for name, metric in CLIP_METRICS.items():
        values = [value for p, beats in clips if (value := metric(p, beats, motions.fps)) is not None]
        if values:
            yield name, _mean(values, f"at {motions.fps:g} fps" if name == "physical_foot_contact" else "")


def of_dance_features(subject: Motions, reference: Motions) -> Figures:
    """Frechet and mean distances in kinetic (k) and geometric (g) features; precision and recall in kinetic ones."""
    for space, features, real in (
        ("k", subject.kinetic, reference.kinetic),
        ("g", subject.geometric, reference.geometric),
    ):
        varies = real.std(axis=0) > CONSTANT
        if not varies.any():
            continue
        left_out = int((~varies).sum())
        note = f"{left_out} features that are constant in the reference left out" if left_out else ""
        truth = standardise(real[:, varies], real[:, varies])
        values = standardise(features[:, varies], real[:, varies])
        yield from _distance(f"fid_{space}", values, truth, DANCE_EPS, note)
        if len(values) > 1:
            yield f"dist_{space}", _of_set(mean_distance, values, note)
        if space == "k":
            yield from _neighbours(space, values, truth)


def of_embeddings(subject: Motions, reference: Motions) -> Figures:
    """Frechet distance, precision and recall, diversity and multimodality of motion embeddings."""
    if subject.motion_embeddings is None:
        return
    values = np.asarray(subject.motion_embeddings, np.float64)
    if reference.motion_embeddings is not None:
        truth = np.asarray(reference.motion_embeddings, np.float64)
        yield from _distance("fd_embedding", values, truth, HUMANML3D_EPS)
        yield from _neighbours("embedding", values, truth)
    if len(values) > 1:
        yield "diversity", _of_set(diversity, values)
    if subject.captions is not None:
        captions = np.array(subject.captions)
        conditions = [values[captions == caption] for caption in dict.fromkeys(subject.captions)]
        spreads = [multimodality([c], seed=i) for i, c in enumerate(conditions) if len(c) > 1]
        if spreads:
            yield "multimodality", _mean(spreads, f"over {len(spreads)} captions")


def of_pairs(motions: Motions) -> Figures:
    """Agreement of text and motion embeddings."""
    if motions.text_embeddings is None or motions.motion_embeddings is None:
        return
    text = np.asarray(motions.text_embeddings, np.float64)
    motion = np.asarray(motions.motion_embeddings, np.float64)
    yield "mm_distance", _mean(np.linalg.norm(text - motion, axis=1))
    yield "tmr_score_stmc", _of_pairs(tmr_score_stmc, text, motion)
    yield "tmr_score_clipped", _of_pairs(tmr_score_clipped, text, motion)
    pools = r_precision(text, motion, motions.captions)
    if pools is not None:
        for k, share in zip(TOPS, pools.top, strict=True):
            yield f"r_precision_top{k}", Figure(share, share_interval(share, pools.n), pools.n)
    for direction, shares in zip(("text_to_motion", "motion_to_text"), recall_at(text, motion, RECALLS), strict=True):
        for k, share in zip(RECALLS, shares, strict=True):
            note = f"of {len(text)}"
            yield f"recall_at_{k}_{direction}", Figure(share, share_interval(share, len(text)), len(text), note=note)


def _distance(name: str, values: Array, truth: Array, eps: float, note: str = "") -> Figures:
    if min(len(values), len(truth)) < 2:
        return
    found = frechet_distance(values, truth, eps)
    real = moments(truth)
    half = _half(lambda rows: frechet_of_moments(*moments(values[rows]), *real, eps), len(values))
    notes = []
    if len(truth) >= 4:
        notes.append(f"real motion would be at {frechet_floor(truth, len(values), eps):.3g}")
    notes += [] if found.reliable else [f"fewer motions than the {found.dim} features"]
    yield name, Figure(found.value, half, found.n, found.dim, "; ".join([*notes, note] if note else notes))


def _neighbours(space: str, values: Array, truth: Array) -> Figures:
    if min(len(values), len(truth)) <= NEIGHBOURS:
        return
    between, within, around = cdist(truth, values), cdist(values, values), radii(cdist(truth, truth))

    def measure(rows: Rows) -> tuple[float, ...]:
        return astuple(prdc_of_distances(between[:, rows], around, within[np.ix_(rows, rows)]))

    halves: list[float | None] = [None] * 4
    if len(values) // 2 > NEIGHBOURS:
        halves = half_sampling(measure, len(values)).tolist()
    found = measure(np.arange(len(values)))
    for name, value, half in zip(("precision", "recall", "density", "coverage"), found, halves, strict=True):
        yield f"{name}_{space}", Figure(value, half, min(len(values), len(truth)))


def _mean(values: Iterable[float], note: str = "") -> Figure:
    interval = mean_interval(list(values))
    return Figure(interval.value, interval.half, interval.n, note=note)


def _of_set(metric: Callable[[Array], float], values: Array, note: str = "") -> Figure:
    return Figure(metric(values), _half(lambda rows: metric(values[rows]), len(values)), len(values), note=note)


def _of_pairs(metric: Callable[[Array, Array], float], text: Array, motion: Array) -> Figure:
    return Figure(metric(text, motion), _half(lambda rows: metric(text[rows], motion[rows]), len(text)), len(text))


def _half(metric: Callable[[Rows], float], n: int) -> float | None:
    """Half the interval of a metric that needs at least two rows; None if half of `n` rows would be fewer."""
    return float(half_sampling(metric, n)) if n >= 4 else None
