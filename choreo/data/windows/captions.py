"""Words for how a window moves, added to captions so that prompts can ask for energy, turns, travel and arms."""

import re

import numpy as np
from numpy.typing import NDArray

from choreo.motion.skeleton import FPS

ATTRIBUTES = ("slowly and calmly", "fast and energetically", "with turns", "travelling across the floor",
              "on the spot", "with the arms held high")  # fmt: skip


def attributes(features: NDArray[np.floating], heading: NDArray[np.floating]) -> list[str]:
    """Phrases of `ATTRIBUTES` that hold for a window of features (T, 66) with facing angles (T,)."""
    joints = features[:, 3:].reshape(len(features), 21, 3)
    speed = float(np.linalg.norm(np.diff(joints, axis=0), axis=-1).mean() * FPS)
    travel = float(np.linalg.norm(features[:, :2], axis=1).mean())
    turned = float(np.ptp(heading))
    wrists = joints[:, [19, 20], 1].max(axis=1)
    head = joints[:, 14, 1]
    out = []
    if speed < 0.35:
        out.append(ATTRIBUTES[0])
    if speed > 0.75:
        out.append(ATTRIBUTES[1])
    if turned > 1.5 * np.pi:
        out.append(ATTRIBUTES[2])
    if travel > 0.7:
        out.append(ATTRIBUTES[3])
    if travel < 0.2:
        out.append(ATTRIBUTES[4])
    if float((wrists > head).mean()) > 0.5:
        out.append(ATTRIBUTES[5])
    return out


def mirrored(text: str) -> str:
    """The sentence with left and right exchanged."""
    swap = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    return re.sub(r"\b(left|right|Left|Right)\b", lambda match: swap[match[0]], text)
