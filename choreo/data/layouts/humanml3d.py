"""HumanML3D (Guo et al. 2022, "Generating Diverse and Natural 3D Human Motions from Text"): motion with sentences.

Layout as in EricGuo5513/HumanML3D (README, `raw_pose_processing.ipynb`, `motion_representation.ipynb`) and the data
loader of EricGuo5513/text-to-motion:

    new_joints/<id>.npy    (T, 22, 3) metres, 20 fps, y up, SMPL's order; one actor's skeleton
    texts/<id>.txt         a sentence a line: caption#tokens#start#end, seconds; 0.0#0.0 (or nan) is the whole clip
    train.txt, val.txt, test.txt
    M<id>                  the mirror image of <id>, with left and right exchanged in its sentences
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.layouts.listing import published_parts, regular_files
from choreo.data.layouts.recording import Recording, Sentence, Skipped
from choreo.errors import InvalidInput
from choreo.motion.clip import check_positions

FPS: Final = 20
LICENCE: Final = "humanml3d-amass-noncommercial"
"""The motion comes from AMASS and HumanAct12, under their terms."""
FAMILY: Final = "humanml3d"
PARTS: Final = ("train", "val", "test")
MAX_TEXT_CHARS: Final = 2**16


class HumanML3D:
    """The data folder."""

    name = "humanml3d"

    def __init__(self, root: Path) -> None:
        self._joints, self._texts = root / "new_joints", root / "texts"
        self.keys = tuple(path.stem for path in regular_files(self._joints, "*.npy"))
        texts = {path.stem for path in regular_files(self._texts, "*.txt")}
        self.skipped = [Skipped(f"texts/{n}.txt", "has no motion") for n in sorted(texts - set(self.keys))]
        self.published = published_parts({part: root / f"{part}.txt" for part in PARTS}, self.keys)

    @staticmethod
    def recognised(root: Path) -> bool:
        """Whether there are joint files."""
        return bool(regular_files(root / "new_joints", "*.npy"))

    def group_of(self, key: str) -> str:
        """The take, the same for its mirror image."""
        return key.removeprefix("M")

    def recording(self, key: str) -> Recording:
        """Read one clip; lines that are not sentences become remarks, and none are needed.

        Raises:
            InvalidInput: not an array of joints.
            OSError: a file cannot be read.
        """
        positions = _positions(self._joints / f"{key}.npy", key)
        path = self._texts / f"{key}.txt"
        text = ""
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace") as file:
                text = file.read(MAX_TEXT_CHARS)
        sentences, remarks = parse_sentences(text.splitlines(), len(positions) / FPS)
        return Recording(
            key=key,
            group=self.group_of(key),
            family=FAMILY,
            positions=positions,
            fps=FPS,
            licence=LICENCE,
            sentences=sentences,
            remarks=remarks,
        )


def parse_sentences(lines: Iterable[str], seconds: float) -> tuple[tuple[Sentence, ...], tuple[str, ...]]:
    """Sentences of lines `caption#tokens#start#end` about a motion of `seconds`, and remarks on refused lines."""
    sentences, remarks = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parts = line.strip().split("#")
        try:
            start, end = (float(np.nan_to_num(float(part), nan=0.0)) for part in parts[2:4])
        except ValueError:
            remarks.append(f"line {number} of its texts is not caption#tokens#start#end")
            continue
        whole = start == 0 and end == 0
        if not parts[0].strip() or not (whole or 0 <= start < min(end, seconds)):
            remarks.append(f"line {number} of its texts describes no part of the motion")
            continue
        sentences.append(Sentence(parts[0].strip(), start, None if whole else end))
    return tuple(sentences), tuple(remarks)


def _positions(path: Path, field: str) -> NDArray[np.float64]:
    try:
        # Memory-mapped, so that a header that lies about the size is refused and costs no memory.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InvalidInput(field, f"{path.name} is not an array of numbers, or is cut off") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise InvalidInput(field, f"{path.name} is not an array of floating-point numbers")
    check_positions(array, field)
    return np.array(array, np.float64)
