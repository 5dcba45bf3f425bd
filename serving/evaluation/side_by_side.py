"""Two generators dance to the same song in one scene: a film with its sound, and a contact sheet around its beats."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.evaluation.figures import of_clips
from choreo.evaluation.motions import Motions
from choreo.motion.clip import Motion
from choreo.motion.formats.contact_sheet import contact_sheet, frames_around
from choreo.motion.formats.mp4 import write_preview
from choreo.motion.formats.sound import Sound
from choreo.motion.performance import Performance
from choreo.motion.skeleton import PELVIS

LABELS: Final = ("A", "B")
OFFSET: Final = 1.5
"""How far to each side of the middle the two begin, metres."""
SIZE: Final = (960, 540)
"""Width and height of the films, pixels."""


@dataclass(frozen=True, eq=False)
class Pair:
    """What both generators danced to one song.

    Attributes:
        song: its name.
        dances: of A and of B, at one frame rate.
        beats: of the song, seconds from its start.
    """

    song: str
    dances: tuple[Performance, Performance]
    beats: NDArray[np.float64]


def one_scene(dances: tuple[Performance, Performance]) -> Performance:
    """Both performances in one, A moved to x = -OFFSET and B to x = OFFSET, as long as the shorter one.

    Raises:
        InvalidInput: different frame rates, or more dancers than a performance may have.
    """
    frames = min(dance.num_frames for dance in dances)
    dancers: list[Motion] = []
    for dance, x in zip(dances, (-OFFSET, OFFSET), strict=True):
        positions = dance.positions[:, :frames]
        middle = positions[:, 0, PELVIS].mean(axis=0) * (1, 0, 1)
        moved = positions - (middle - (x, 0, 0)).astype(np.float32)
        dancers += [Motion(dancer, dance.fps) for dancer in moved]
    return Performance(tuple(dancers))


def write_pair(pair: Pair, film: Path, sheet: Path, sound: Sound | None) -> None:
    """Write the film and the contact sheet (PNG) of both dances in one scene, labelled A and B.

    Raises:
        ChoreoError: as `one_scene` and `choreo.motion.formats.mp4.write_preview`.
        OSError: a file cannot be written.
    """
    scene = one_scene(pair.dances)
    labels = [label for label, dance in zip(LABELS, pair.dances, strict=True) for _ in dance.dancers]
    write_preview(scene, film, sound, pair.song, size=SIZE, labels=labels)
    frames = frames_around(pair.beats, scene.num_frames, scene.fps)
    contact_sheet(scene, frames, pair.song, labels).save(sheet, format="PNG")


def figures(pairs: Sequence[Pair]) -> dict[str, dict[str, dict[str, Any]]]:
    """Metrics of single clips over the songs: metric -> label -> value, ci95 (None for one song) and n."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for place, label in enumerate(LABELS):
        beats: list[ArrayLike | None] = [pair.beats for pair in pairs]
        motions = Motions.of_performances(label, [pair.dances[place] for pair in pairs], beats)
        for metric, figure in of_clips(motions):
            found.setdefault(metric, {})[label] = {"value": figure.value, "ci95": figure.half, "n": figure.n}
    return found
