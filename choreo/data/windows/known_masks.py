"""Which numbers of a training window are given to the network, so that it learns to keep to what a request gives.

`starts` gives a starting pose, a starting clip or a few key poses. `random` gives frames, spans, joints and the
trajectory of the root at random as well (CondMDI, Cohan et al. 2024), which key poses, held spans, paths
and end poses need. Masks are pure functions of a random generator, the frames of a motion and its representation.
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from choreo.motion.representation import Representation
from choreo.motion.skeleton import (
    CHEST,
    HEAD,
    L_ANKLE,
    L_ELBOW,
    L_FOOT,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    NECK,
    R_ANKLE,
    R_ELBOW,
    R_FOOT,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
)

Masks = Literal["starts", "random"]
Mask = NDArray[np.float32]

MAX_START: Final = 30
"""Frames of a starting clip."""
NOTHING: Final = 0.25
"""Share of the windows of which `random` gives nothing."""
START_ONLY: Final = 0.2
"""Share of the windows of which it gives a start and nothing else."""
WITH_START: Final = 0.4
"""Share of the other windows that have a start in addition."""
WITH_END: Final = 0.3
"""Share of the other windows that have an end pose in addition."""
SPARSE: Final = (0.01, 0.2)
"""Least and greatest share of single frames that are given."""
SPAN: Final = 0.5
"""Probability that a span is given instead of single frames."""
WHOLE_BODY, TRAJECTORY = 0.45, 0.25
"""Probabilities that the whole body and that the trajectory of the root is given; otherwise a group of joints is."""
GROUPS: Final[tuple[tuple[int, ...], ...]] = (
    (L_ANKLE, R_ANKLE, L_FOOT, R_FOOT),
    (L_KNEE, R_KNEE, L_ANKLE, R_ANKLE, L_FOOT, R_FOOT),
    (L_WRIST, R_WRIST),
    (L_SHOULDER, R_SHOULDER, L_ELBOW, R_ELBOW, L_WRIST, R_WRIST),
    (HEAD,),
    (CHEST, NECK, HEAD),
    (HEAD, L_WRIST, R_WRIST),
)
"""Groups of joints that are given together: feet, legs, hands, arms, head, upper trunk, what a headset tracks."""


def starts(rng: np.random.Generator, frames: int, window: int, representation: Representation, share: float) -> Mask:
    """Mask (window, C) of a starting pose, a starting clip or four key poses, of a `share` of the windows.

    Args:
        rng: decides.
        frames: of the motion; what follows it is padding.
        window: frames of the window.
        representation: of its features.
        share: probability that anything is given.
    """
    mask = np.zeros((window, representation.channels), np.float32)
    if rng.random() < share:
        kind = rng.random()
        if kind < 0.4:
            mask[0] = _lone_pose(representation)
        elif kind < 0.8:
            mask[: int(rng.integers(2, MAX_START + 1))] = 1
        else:
            mask[rng.choice(frames, min(4, frames), replace=False)] = _lone_pose(representation)
    mask[frames:] = 0
    return mask


def random(rng: np.random.Generator, frames: int, window: int, representation: Representation) -> Mask:
    """Mask (window, C): nothing, a start, or one or two of single frames, spans, joints and a trajectory at random.

    Velocities of a pose are given only where the frame before is given as well, as in requests; at the first frame of a
    window, which may continue a span of the window before, half of the time.

    Args:
        rng: decides.
        frames: of the motion, at least 1; what follows it is padding.
        window: frames of the window.
        representation: of its features.
    """
    mask = np.zeros((window, representation.channels), np.float32)
    draw = rng.random()
    if draw < NOTHING:
        return mask
    only_start = draw < NOTHING + START_ONLY
    poses = np.zeros(frames, bool)
    if only_start or rng.random() < WITH_START:
        poses[: _start_frames(rng)] = True
    if not only_start:
        poses[-1] |= rng.random() < WITH_END
        for _ in range(int(rng.integers(1, 3))):
            poses |= _give(mask, rng, frames, representation)
    mask[:frames] = np.maximum(mask[:frames], pose_mask(poses, representation, bool(rng.random() < 0.5)))
    return mask


def pose_mask(given: NDArray[np.bool_], representation: Representation, continues: bool = False) -> Mask:
    """Mask (T, C) of whole poses at the frames of `given` (T,): velocities are known where two of them follow.

    Args:
        given: frames with a pose.
        representation: of the features.
        continues: whether the frame before the first is known as well.
    """
    mask = np.repeat(given.astype(np.float32)[:, None], representation.channels, axis=1)
    follows = given & np.concatenate([[continues], given[:-1]])
    mask[:, representation.unknown_in_a_lone_pose] = follows[:, None]
    return mask


def _give(mask: Mask, rng: np.random.Generator, frames: int, representation: Representation) -> NDArray[np.bool_]:
    """Add joints or a trajectory to the mask, or return the frames (T,) of which the whole body is given."""
    kind, nothing = rng.random(), np.zeros(frames, bool)
    if WHOLE_BODY <= kind < WHOLE_BODY + TRAJECTORY:
        span = _span(rng, frames, whole=0.5)
        mask[span, representation.root_velocity] = 1
        if rng.random() < 0.5:
            mask[span, representation.root_height] = 1
        return nothing
    given = nothing.copy()
    if rng.random() < SPAN:
        given[_span(rng, frames, whole=0.1 if kind < WHOLE_BODY else 0.3)] = True
    else:
        count = round(rng.uniform(*SPARSE) * frames)
        given[rng.choice(frames, min(max(count, 1), frames), replace=False)] = True
    if kind < WHOLE_BODY:
        return given
    for joint in GROUPS[int(rng.integers(len(GROUPS)))]:
        first = representation.joints.start + 3 * (joint - 1)
        mask[:frames, first : first + 3] = np.maximum(mask[:frames, first : first + 3], given[:, None])
    return nothing


def _span(rng: np.random.Generator, frames: int, whole: float) -> slice:
    """A span of at least a tenth of the frames; all of them with the probability `whole`."""
    if rng.random() < whole:
        return slice(0, frames)
    length = int(rng.integers(max(1, frames // 10), frames + 1))
    first = int(rng.integers(0, frames - length + 1))
    return slice(first, first + length)


def _start_frames(rng: np.random.Generator) -> int:
    """Frames of a start: half of the time a pose, otherwise a clip."""
    return 1 if rng.random() < 0.5 else int(rng.integers(2, MAX_START + 1))


def _lone_pose(representation: Representation) -> Mask:
    pose = np.ones(representation.channels, np.float32)
    pose[representation.unknown_in_a_lone_pose] = 0
    return pose
