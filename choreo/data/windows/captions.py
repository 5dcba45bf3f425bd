"""Phrases for how a motion moves, added to captions so that prompts can ask for energy, turns, travel and arms."""

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.representation import ROOT_VELOCITY_66, Representation
from choreo.motion.skeleton import FPS, HEAD, JOINT_NAMES

ATTRIBUTES: Final = (
    "slowly and calmly", "fast and energetically", "with turns", "travelling across the floor", "on the spot",
    "with the arms held high",
)  # fmt: skip
_WRISTS: Final = [JOINT_NAMES.index(f"{side}_wrist") - 1 for side in ("left", "right")]
_HEAD: Final = HEAD - 1
"""Rows of `Representation.joints_of`, which leaves joint 0 out."""


def attributes(
    features: NDArray[np.floating], heading: NDArray[np.floating], representation: Representation = ROOT_VELOCITY_66
) -> list[str]:
    """Phrases of `ATTRIBUTES` that are true of features (T, C) with facing angles (T,), at 30 fps."""
    joints = representation.joints_of(features)
    speed = float(np.linalg.norm(np.diff(joints, axis=0), axis=-1).mean() * FPS)
    travel = float(np.linalg.norm(representation.root_velocity_of(features), axis=1).mean())
    high = joints[:, _WRISTS, 1].max(axis=1) > joints[:, _HEAD, 1]
    true = (
        speed < 0.35,
        speed > 0.75,
        float(np.ptp(heading)) > 1.5 * np.pi,
        travel > 0.7,
        travel < 0.2,
        float(high.mean()) > 0.5,
    )
    return [phrase for phrase, holds in zip(ATTRIBUTES, true, strict=True) if holds]


def mirrored(text: str) -> str:
    """The sentence with left and right exchanged."""
    swap = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    return re.sub(r"\b(left|right|Left|Right)\b", lambda match: swap[match[0]], text)
