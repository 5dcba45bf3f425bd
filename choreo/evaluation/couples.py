"""How two dancers dance together: distances between their joints, touch, collisions, turns and echoed beats.

A couple is an array (2, T, 22, 3) of positions in one frame, metres, y up; the first dancer leads.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from choreo.errors import InvalidInput
from choreo.evaluation.checks import Array, frame_rate, moving
from choreo.evaluation.diversity import diversity
from choreo.evaluation.frechet import DANCE_EPS, FrechetDistance, frechet_distance
from choreo.motion.kinematic_beats import kinematic_beats
from choreo.motion.kinematics import heading
from choreo.motion.skeleton import (
    FPS,
    HEAD,
    L_ANKLE,
    L_ELBOW,
    L_FOOT,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    NECK,
    PELVIS,
    R_ANKLE,
    R_ELBOW,
    R_FOOT,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
)

INTERACTING: Final = (PELVIS, L_KNEE, R_KNEE, L_FOOT, R_FOOT, L_SHOULDER, R_SHOULDER, HEAD, L_WRIST, R_WRIST)
"""The ten joints whose mutual distances are cross-distance features (Siyao et al. 2024, "Duolando")."""
STRIDE_SECONDS: Final = 1 / 6
"""Time between the frames that features are taken of: neighbours say the same."""
ECHO_SECONDS: Final = 0.1
"""Standard deviation of the Gaussian that scores an echoed beat: Duolando's 3 frames at 30 fps."""
HAND: Final = 0.08
"""Way from the wrist to the middle of the hand, metres."""
TOUCHING: Final = 0.2
"""Hands nearer than this hold each other: in the salsa couples they are 10 to 15 cm apart in the median."""
SLACK: Final = 0.05
"""Depth of one body in the other that is put down to clothes, soft tissue and errors of tracking, metres."""
CAPSULES: Final = (
    (PELVIS, NECK, 0.12), (NECK, HEAD, 0.09), (L_HIP, L_KNEE, 0.07), (R_HIP, R_KNEE, 0.07), (L_KNEE, L_ANKLE, 0.05),
    (R_KNEE, R_ANKLE, 0.05), (L_SHOULDER, L_ELBOW, 0.045), (R_SHOULDER, R_ELBOW, 0.045),
)  # fmt: skip
"""Bodies as capsules, from joint to joint with a radius in metres; forearms and hands may be anywhere."""


def cross_distances(couple: NDArray[Any], fps: float = FPS) -> Array:
    """Features (N, 100): distances between the `INTERACTING` joints of the two, in frames `STRIDE_SECONDS` apart.

    Raises:
        InvalidInput: not a couple.
    """
    both = pair(couple)[:, :: max(1, round(STRIDE_SECONDS * frame_rate(fps)))][:, :, list(INTERACTING)]
    return np.linalg.norm(both[0][:, :, None] - both[1][:, None], axis=-1).reshape(both.shape[1], -1)


def fid_cd(subject: NDArray[Any], reference: NDArray[Any]) -> FrechetDistance:
    """Frechet distance of cross-distance features (N, 100) and (M, 100), metres squared."""
    return frechet_distance(subject, reference, DANCE_EPS)


def div_cd(features: NDArray[Any], seed: int = 0) -> float:
    """Mean distance of random pairs of cross-distance features (N, 100), metres."""
    return diversity(features, pairs=3000, seed=seed)


def beat_echo(couple: NDArray[Any], fps: float = FPS) -> float | None:
    """BED: how nearly the leader's pauses are the follower's: mean of exp(-d^2 / (2 * 0.1^2)), d seconds apart.

    Siyao et al. 2024, eq. 9, with the pauses of `kinematic_beats`.

    Returns:
        A number in [0, 1]; None where the leader never pauses.
    Raises:
        InvalidInput: not a couple.
    """
    leads, follows = (kinematic_beats(dancer, frame_rate(fps)) / fps for dancer in pair(couple))
    if not len(leads):
        return None
    if not len(follows):
        return 0.0
    apart = np.abs(leads[:, None] - follows).min(axis=1)
    return float(np.exp(-((apart / ECHO_SECONDS) ** 2) / 2).mean())


def contact_share(couple: NDArray[Any]) -> float:
    """Share of the frames in which a hand of one is nearer than `TOUCHING` to a hand of the other."""
    first, second = (_hands(dancer) for dancer in pair(couple))
    apart = np.linalg.norm(first[:, :, None] - second[:, None], axis=-1)
    return float((apart.min(axis=(1, 2)) < TOUCHING).mean())


def penetration_share(couple: NDArray[Any]) -> float:
    """Share of the frames in which trunk, head or limbs of one are more than `SLACK` inside those of the other."""
    first, second = pair(couple)
    inside = np.zeros(first.shape[0], bool)
    for a, b, ours in CAPSULES:
        for c, d, theirs in CAPSULES:
            apart = _between_segments(first[:, a], first[:, b], second[:, c], second[:, d])
            inside |= apart < ours + theirs - SLACK
    return float(inside.mean())


def heading_correlation(couple: NDArray[Any]) -> float:
    """Circular correlation of the headings of the two, -1 to 1 (Jammalamadaka & SenGupta 2001, eq. 8.2.2).

    1 where they turn alike, -1 where they turn as in a mirror, 0 where one of them does not turn at all.
    """
    first, second = (heading(dancer) for dancer in pair(couple))
    a, b = (np.sin(angles - np.angle(np.exp(1j * angles).mean())) for angles in (first, second))
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / scale) if scale > 1e-9 else 0.0


def distances(couple: NDArray[Any]) -> Array:
    """Distance of the pelvises over the floor (T,), metres."""
    first, second = pair(couple)
    return np.linalg.norm((first - second)[:, PELVIS][:, [0, 2]], axis=-1)


def distance_shift(subject: NDArray[Any], reference: NDArray[Any]) -> float:
    """How far the distribution of distances (N,) is from the reference's (M,): the Wasserstein distance, metres."""
    return float(wasserstein_distance(np.asarray(subject, np.float64), np.asarray(reference, np.float64)))


def pair(couple: NDArray[Any]) -> Array:
    """Check that positions are of two dancers of two frames or more; as float64.

    Raises:
        InvalidInput: they are not, or hold NaN.
    """
    if np.ndim(couple) != 4 or len(couple) != 2:
        raise InvalidInput("couple", f"must have shape (2, T, 22, 3), got {np.shape(couple)}")
    return np.stack([moving(dancer, f"couple[{i}]") for i, dancer in enumerate(couple)])


def _hands(dancer: Array) -> Array:
    """Middles of the hands (T, 2, 3)."""
    wrists, elbows = dancer[:, [L_WRIST, R_WRIST]], dancer[:, [L_ELBOW, R_ELBOW]]
    along = wrists - elbows
    return wrists + HAND * along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)


def _between_segments(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Least distances (T,) of segments a-b and c-d, all (T, 3) (Ericson 2005, section 5.1.9)."""
    u, v, w = b - a, d - c, a - c
    uu, vv, uv = (u * u).sum(-1), (v * v).sum(-1), (u * v).sum(-1)
    uw, vw = (u * w).sum(-1), (v * w).sum(-1)
    uu, vv = np.maximum(uu, 1e-12), np.maximum(vv, 1e-12)
    across = uu * vv - uv**2
    s = np.where(across > 1e-9, (uv * vw - uw * vv) / np.maximum(across, 1e-9), 0.0).clip(0, 1)
    t = ((uv * s + vw) / vv).clip(0, 1)
    s = ((uv * t - uw) / uu).clip(0, 1)
    return np.linalg.norm(w + s[:, None] * u - t[:, None] * v, axis=-1)
