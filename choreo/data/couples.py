"""Couples of a data set on the canonical skeleton, by part of its split, and synthetic ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from choreo.data.couple import Couple
from choreo.data.layouts.couples import Couples
from choreo.data.layouts.recording import Skipped
from choreo.data.licences import OWN
from choreo.data.splits.split import TRAINING, hashed_split, published_split
from choreo.data.synthetic.dances import MOVES, synthesize_dance
from choreo.errors import InvalidInput
from choreo.motion.kinematics import heading
from choreo.motion.rotations import yaw
from choreo.motion.skeleton import MIRROR
from choreo.postprocess.shared_floor import in_its_place

DUETS = "duets"
"""Folder of a data pack that its couples are in."""
HOLD = 0.7
"""Distance of the dancers of synthetic couples, metres."""


@dataclass(frozen=True)
class CoupleSplits:
    """Couples by part of a split, and what was not loaded."""

    parts: Mapping[str, tuple[Couple, ...]]
    skipped: tuple[Skipped, ...] = ()
    origin: str = "none"


def couples_folder(root: Path) -> Path:
    """The folder of archives of couples that a data set is or has.

    Raises:
        InvalidInput: it is none and has none.
    """
    for folder in (root, root / DUETS):
        if folder.is_dir() and Couples.recognised(folder):
            return folder
    raise InvalidInput("data", f"{root} holds no archive of couples, <take>/a and <take>/b")


def read_couples(root: Path) -> CoupleSplits:
    """All couples of a folder by `train`, `val` and `test`; takes of one performance are in one part.

    Raises:
        InvalidInput: no couples there, or none that can be used.
    """
    layout = Couples(couples_folder(root))
    groups = {take: layout.group_of(f"{take}/a") for take in layout.takes}
    published = {
        part: tuple(dict.fromkeys(key.rpartition("/")[0] for key in keys)) for part, keys in layout.published.items()
    }
    split = published_split(published, groups) if published else hashed_split(groups)
    skipped, parts = list(layout.skipped), dict[str, tuple[Couple, ...]]()
    for part, takes in split.parts.items():
        found = []
        for take in takes:
            try:
                found.append(_couple(layout, take))
            except (InvalidInput, OSError) as error:
                skipped.append(Skipped(take, str(error)))
        parts[part] = tuple(found)
    if not parts.get(TRAINING):
        reasons = "; ".join(f"{s.name} {s.reason}" for s in skipped[:3])
        raise InvalidInput("data", f"{root} has no couple that can be learned from: {reasons or 'it is empty'}")
    return CoupleSplits(parts, tuple(skipped), f"{layout.name}, {split.origin} split")


def _couple(layout: Couples, take: str) -> Couple:
    performance = layout.couple(take)
    both = np.stack([in_its_place(dancer.positions, dancer.fps) for dancer in performance.dancers])
    return Couple(take, layout.group_of(f"{take}/a"), both, layout.licence_of(take))


def made_couples(count: int, seconds: float = 8.0, seed: int = 0) -> list[Couple]:
    """Couples of synthetic dances: the second dancer is the first one's image in a mirror that stands between them.

    They show that everything works; nothing of a partner dance can be learned from them.
    """
    moves = sorted(MOVES)
    out = []
    for i in range(count):
        motion, _, _ = synthesize_dance(moves[i % len(moves)], 100.0 + 5 * (i % 5), seconds, seed + i)
        lead = np.asarray(motion.positions, np.float64)
        out.append(Couple(f"made_{seed + i}", f"made_{seed + i}", np.stack([lead, mirror_partner(lead)]), OWN))
    return out


def mirror_partner(positions: NDArray[np.floating], distance: float = HOLD) -> NDArray[np.float64]:
    """The image (T, 22, 3) of a dancer who faces one, in a mirror across the facing direction of the first frame."""
    p = np.asarray(positions, np.float64)
    turn = yaw(float(heading(p[:1])[0]))
    place = p[0, 0] * (1, 0, 1)
    own = (p - place) @ turn
    image = own[:, list(MIRROR)] * (1, 1, -1)
    image[..., 2] += distance
    # A reflection in z with left and right exchanged is a body again, which faces the other way.
    return image @ turn.T + place
