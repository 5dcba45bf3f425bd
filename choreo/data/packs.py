"""Loader of the data pack: CMU and Tang mocap (int16 millimetres), music features and captions.

Layout, field by field: `motion/{cmu,tang}.npz` one int16 array (T, 22, 3) per key; `music/tang_features.npz` with
`<key>` (T, 35), `<key>/beats` seconds and `<key>/tempo`; `captions.csv` with clip, start_s, end_s, source, split,
caption.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from choreo.data.clip import Caption, Clip, motion_features
from choreo.errors import InvalidInput
from choreo.motion.clip import check_positions
from choreo.motion.retarget import retarget
from choreo.motion.skeleton import FPS
from choreo.music.beats import beat_phase_channels
from choreo.music.encoders import precomputed

NOT_DANCING = frozenset({"01"})
"""CMU subjects left out: 01 climbs and hangs, so its feet say nothing about a floor."""
TWINS = {"T_9": "T_1"}
"""Tang dances that are nearly the same recording; they share a group."""


def load_packs(root: Path, progress: Callable[[str], None] = lambda key: None) -> list[Clip]:
    """Every usable clip of the pack under `root`, retargeted to the canonical skeleton.

    Raises:
        InvalidInput: the folder is not a data pack, or an array in it is not motion.
    """
    captions = _captions(root / "captions.csv")
    clips = []
    for path, licence in ((root / "motion/cmu.npz", "cmu-mocap"), (root / "motion/tang.npz", "research-mit")):
        for key, positions in _arrays(path):
            if key.split("_")[0] in NOT_DANCING:
                continue
            progress(key)
            clips.append(_clip(key, positions, captions[key], root, licence))
    return clips


def _arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    if not path.is_file():
        raise InvalidInput("data", f"{path} is missing; this is not a data pack")
    with np.load(path) as pack:
        for key in pack.files:
            positions = pack[key].astype(np.float64) / 1000
            check_positions(positions, f"{path.name}:{key}")
            yield key, positions


def _clip(key: str, positions: np.ndarray, captions: list[Caption], root: Path, licence: str) -> Clip:
    canonical = retarget(positions)
    features, heading = motion_features(canonical.positions)
    music, rhythm = _music(root / "music/tang_features.npz", key, len(features))
    return Clip(
        key,
        group_of(key),
        family_of(key),
        features,
        heading,
        music,
        rhythm,
        canonical.residual,
        licence,
        tuple(captions),
    )


def _music(path: Path, key: str, num_frames: int) -> tuple[np.ndarray | None, np.ndarray]:
    with np.load(path) as pack:
        if key not in pack.files:
            return None, np.zeros((num_frames, 4), np.float32)
        song = precomputed(pack[key].astype(np.float32), field=key)
        return song.features, beat_phase_channels(pack[f"{key}/beats"], song.onset, num_frames)


def _captions(path: Path) -> dict[str, list[Caption]]:
    rows: dict[str, list[Caption]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            start, end = round(float(row["start_s"]) * FPS), round(float(row["end_s"]) * FPS)
            rows[row["clip"]].append(Caption(row["caption"], start, end))
    return rows


def group_of(key: str) -> str:
    """Dance of a Tang stretch (`W_3_s0` -> `W_3`), take of a CMU clip; partners 60 and 61 danced the same takes."""
    if not key[0].isdigit():
        dance = "_".join(key.split("_")[:2])
        return TWINS.get(dance, dance)
    subject, take = key.split("_")
    return f"salsa_{take}" if subject in ("60", "61") else key


def family_of(key: str) -> str:
    """Genre letter of a Tang dance, subject of a CMU clip (salsa for 60 and 61)."""
    return group_of(key).split("_")[0]


def is_validation(group: str) -> bool:
    """A fixed tenth or so of the dances and takes; decided by group so that no dance is on both sides."""
    return group in VALIDATION_GROUPS


VALIDATION_GROUPS = frozenset(
    {"W_3", "W_15", "W_27", "R_6", "C_2", "C_8", "T_5", "salsa_04", "salsa_11", "05_05", "05_13", "94_06", "135_07"}
    | {"02_03", "06_08", "07_05", "08_08", "09_07"}
)
