"""Reading what AlphaPose with a HybrIK model writes: `alphapose-results.json`, one object per person and frame.

    [{"image_id": "12.jpg", "keypoints": [x, y, score, ...], "score": 2.9, "box": [x, y, w, h], "idx": 1,
      "pred_xyz_jts": [[x, y, z], ... 29 times]}, ...]

The 29 joints are those of SMPL, then hands, the top of the head and the big toes (HybrIK, Li et al. 2021): the first 22
are the joints of this program. `transl` (or `cam_root`), three numbers in the unit of the joints, is added where it is
present. The file is decoded one object at a time, so memory grows with what is kept and not with what a file holds.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.clip import MAX_COORDINATE, MAX_FRAMES
from choreo.motion.skeleton import NUM_JOINTS, PELVIS

ESTIMATED_JOINTS: Final = 29
FILE_NAME: Final = "alphapose-results.json"
"""What is read from a folder."""
MAX_BYTES: Final = 2**31
"""Largest file; an hour of two dancers at 30 fps has about a third of it."""
MAX_DETECTIONS: Final = 600_000
"""An hour of two dancers and some bystanders; more are refused before they fill the memory."""
MAX_OBJECT_CHARS: Final = 2**17
"""Longest object of one person; AlphaPose's have about 6000 characters."""
MIN_ROOT_SPREAD: Final = 1e-4
"""Pelvises that move less than this, in the file's unit, were all moved to the origin."""
_CHUNK: Final = 2**20
_JOINT_FIELDS: Final = ("pred_xyz_jts", "pred_xyz_jts_29", "pred_xyz_29")
_PLACE_FIELDS: Final = ("transl", "cam_root")
_DIGITS: Final = re.compile(r"(\d{1,12})(?!.*\d)")


@dataclass(frozen=True)
class Detections:
    """Persons found in frames, in order of the frames.

    Attributes:
        frames: int64 (N,) number of the image of each.
        joints: float64 (N, 22, 3) in the camera's frame and the file's unit.
        ids: int64 (N,) as the estimator's tracker gave them; -1 for none.
        scores: float64 (N,), more is surer.
        notes: what was left out or reordered.
    """

    frames: NDArray[np.int64]
    joints: NDArray[np.float64]
    ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    def of(self, kept: NDArray[Any]) -> "Detections":
        """Those of a mask or of indices (n,)."""
        return Detections(self.frames[kept], self.joints[kept], self.ids[kept], self.scores[kept], self.notes)


def read_results(path: Path) -> Detections:
    """Read a results file, or the one in a folder.

    Persons with NaN, infinite or absurd coordinates are left out and counted in the notes.

    Raises:
        InvalidInput: no such file, not JSON of this form, too large, other joints than the 29, no person in it,
            more than `MAX_FRAMES` from the first to the last image, or every pelvis at the origin, which loses where
            the dancers are.
    """
    file_path = path / FILE_NAME if path.is_dir() else path
    if not file_path.is_file():
        raise InvalidInput("results", f"{file_path} is not a file; name {FILE_NAME} or its folder")
    if (size := file_path.stat().st_size) > MAX_BYTES:
        raise InvalidInput("results", f"has {size / 2**20:.0f} MiB; at most {MAX_BYTES // 2**20} are read")
    frames: list[int] = []
    ids: list[int] = []
    scores: list[float] = []
    joints: list[NDArray[np.float32]] = []
    unusable = 0
    try:
        with file_path.open(encoding="utf-8", errors="strict") as file:
            for number, person in enumerate(_objects(file)):
                if number >= MAX_DETECTIONS:
                    raise InvalidInput("results", f"holds more than {MAX_DETECTIONS} persons; cut the video")
                frame, found = _frame(person, number), _joints(person, number)
                if not (np.isfinite(found).all() and np.abs(found).max() <= MAX_COORDINATE * 1000):
                    unusable += 1
                    continue
                frames.append(frame)
                joints.append(found.astype(np.float32))
                ids.append(_identity(person.get("idx")))
                scores.append(_score(person.get("score")))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("results", f"{file_path.name} cannot be read: {error}") from error
    if not frames:
        why = f"; all {unusable} have NaN or absurd coordinates" if unusable else ""
        raise InvalidInput("results", f"no person is in {file_path.name}{why}")
    at = np.asarray(frames, np.int64)
    notes = [f"{unusable} persons with NaN or absurd coordinates were left out"] if unusable else []
    if (np.diff(at) < 0).any():
        notes.append("the images were out of order and were sorted by their numbers")
    return _in_order(at, np.stack(joints), ids, scores, tuple(notes))


def _in_order(
    at: NDArray[np.int64], joints: NDArray[np.float32], ids: list[int], scores: list[float], notes: tuple[str, ...]
) -> Detections:
    if at.max() - at.min() >= MAX_FRAMES:
        raise InvalidInput("results", f"spans images {at.min()} to {at.max()}; at most {MAX_FRAMES} are read")
    order = np.argsort(at, kind="stable")
    placed = joints[order].astype(np.float64)
    if len(at) > 1 and np.ptp(placed[:, PELVIS], axis=0).max() < MIN_ROOT_SPREAD:
        raise InvalidInput(
            "results",
            "has every pelvis at the same point, so where the dancers stand is lost; estimate again without moving "
            "the root to the origin, or add `transl` to each person",
        )
    return Detections(at[order], placed, np.asarray(ids, np.int64)[order], np.asarray(scores)[order], notes)


def _objects(file: IO[str]) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON list, decoded one at a time."""
    decoder = json.JSONDecoder()
    text, at, ended = file.read(_CHUNK).lstrip("\ufeff \t\r\n"), 1, False
    if not text.startswith("["):
        raise InvalidInput("results", "is not a JSON list of persons as AlphaPose writes it")
    first = True
    while True:
        while not ended and len(text) - at < MAX_OBJECT_CHARS:
            more = file.read(_CHUNK)
            ended = not more
            text, at = text[at:] + more, 0
        at = _past(text, at, " \t\r\n")
        if text[at : at + 1] == "]":
            if text[at + 1 :].strip() or file.read(1):
                raise InvalidInput("results", "is broken JSON: something follows the list")
            return
        if not first:
            if text[at : at + 1] != ",":
                raise InvalidInput("results", "is broken JSON, or its end is missing")
            at = _past(text, at + 1, " \t\r\n")
        value, at = _decoded(decoder, text, at)
        first = False
        yield value


def _decoded(decoder: json.JSONDecoder, text: str, at: int) -> tuple[Mapping[str, Any], int]:
    if text[at : at + 1] != "{":
        raise InvalidInput("results", "is broken JSON, or not a list of persons as AlphaPose writes it")
    try:
        value, end = decoder.raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            "results", f"is broken JSON, its end is missing, or a person has over {MAX_OBJECT_CHARS} characters"
        ) from error
    return value, end


def _past(text: str, at: int, blanks: str) -> int:
    while at < len(text) and text[at] in blanks:
        at += 1
    return at


def _frame(person: Mapping[str, Any], number: int) -> int:
    """Number of the image: an integer, or the last digits of a file name."""
    image = person.get("image_id")
    if isinstance(image, int) and not isinstance(image, bool) and abs(image) < 10**12:
        return image
    found = _DIGITS.search(image[:256].rpartition(".")[0] or image[:256]) if isinstance(image, str) else None
    if found is None:
        raise InvalidInput("results", f"person {number} has no image_id with a number, such as 12.jpg")
    return int(found[1])


def _joints(person: Mapping[str, Any], number: int) -> NDArray[np.float64]:
    name = next((field for field in _JOINT_FIELDS if field in person), None)
    if name is None:
        raise InvalidInput(
            "results", f"person {number} has no pred_xyz_jts: joints in space need a HybrIK model of AlphaPose"
        )
    joints = _numbers(person[name], f"{name} of person {number}")
    if joints.size != ESTIMATED_JOINTS * 3:
        raise InvalidInput(
            "results", f"person {number} must have {ESTIMATED_JOINTS} joints in space, got {joints.size / 3:g}"
        )
    joints = joints.reshape(ESTIMATED_JOINTS, 3)[:NUM_JOINTS]
    place = next((field for field in _PLACE_FIELDS if field in person), None)
    if place is None:
        return joints
    shift = _numbers(person[place], f"{place} of person {number}").reshape(-1)
    if shift.size != 3:
        raise InvalidInput("results", f"{place} of person {number} must be three numbers")
    return joints + shift


def _numbers(value: object, what: str) -> NDArray[np.float64]:
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput("results", f"{what} must be numbers") from error


def _identity(value: object) -> int:
    """The tracker's number, which some trackers wrap in lists; -1 for anything else."""
    for _ in range(4):
        if isinstance(value, list) and value:
            value = value[0]
    if isinstance(value, (int, float)) and abs(value) < 2**31:
        return int(value)
    return -1


def _score(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and abs(value) < 1e6 else 0.0
