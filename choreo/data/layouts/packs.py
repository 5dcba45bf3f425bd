"""The data pack: CMU and Tang mocap with music features and captions.

motion/{cmu,tang,cmu_test}.npz                one int16 array (T, 22, 3) in millimetres per key, 30 fps
music/{tang_features,cmu_features_made}.npz   <key> (T, 35), <key>/beats in seconds, <key>/tempo
captions.csv, captions_test.csv               clip, start_s, end_s, source, split, caption

`cmu_test`, `captions_test.csv` and `cmu_features_made` may be missing. The duets of the pack are not read here: they
are the takes of subjects 60 and 61 in one world frame.
"""

import csv
import zipfile
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from choreo.data.clip import Caption
from choreo.data.layouts.recording import Recording, Sentence, Skipped, Song
from choreo.data.licences import ANIMATED_DRAWINGS, BABEL, CC0, CMU, KIT, TANG
from choreo.data.splits.split import HELD_OUT, TEST, TRAINING
from choreo.errors import InvalidInput
from choreo.motion.clip import MAX_FRAMES, check_positions
from choreo.motion.retarget import retarget
from choreo.motion.skeleton import FPS, NUM_JOINTS
from choreo.music.encoded import precomputed
from choreo.music.features import ONSET, normalized_onset
from choreo.postprocess.floor import levelled

EXCLUDED_SUBJECTS: Final = frozenset({"01"})
"""CMU subjects left out: 01 climbs and hangs, so its feet do not show where the floor is."""
COUPLE: Final = ("60", "61")
"""CMU subjects who danced together: takes of the same number are one performance."""
DUPLICATES: Final = {"T_9": "T_1"}
"""Tang dances that are nearly the same recording as another; they share its group."""
LICENCES: Final = {"cmu": CMU, "tang": TANG}
"""Licence tag by name of the motion file."""
TEST_FILE: Final = "cmu_test"
"""Motion file of the test split."""
CAPTION_LICENCES: Final = {"kit": KIT, "babel": BABEL, "cmu": CMU, "own": CC0, "measured": CC0, "template": CC0}
"""Licence tag of a caption by its source."""
GENRES: Final = {"W": "waltz", "R": "rumba", "C": "cha-cha", "T": "tango", "salsa": "salsa", "94": "Indian dance",
          "05": "modern dance", "135": "martial arts", "85": "breakdance", "131": "street dance",
          "55": "whirling dance"}  # fmt: skip
"""Genre by family; other families are everyday motion."""
METERS: Final = {"W": 3}
"""Beats per bar by family, where not four."""
MAX_ARRAY_BYTES: Final = MAX_FRAMES * NUM_JOINTS * 3 * 4 + 4096
"""Largest array that is unpacked."""
VALIDATION_GROUPS: Final = frozenset(
    {"W_4", "W_8", "W_10", "R_1", "C_4", "C_8", "salsa_06", "salsa_11", "05_05", "05_13", "94_06", "135_07"}
    | {"02_03", "06_08"}
)
"""Dances and takes that share the fewest stretches with the others. The Tang dances are spliced from common material,
tangos so much that none can be held out; what still repeats is cut out of the training part
(`choreo.data.splits.purge`)."""


@dataclass(frozen=True)
class PackRecording:
    """One recording on the canonical skeleton and a level floor.

    Attributes:
        key: name within the pack.
        positions: (T, 22, 3) metres, 30 fps.
        residual: mean distance of the rigid fit from the recording, metres.
        captions: of parts of it.
        licence: tag of its terms.
        music: `dsp35` features float32 (T, 35), or None.
        beats: seconds from the first frame (n,), empty without music.
    """

    key: str
    positions: NDArray[np.float64]
    residual: float
    captions: tuple[Caption, ...]
    licence: str
    music: NDArray[np.float32] | None
    beats: NDArray[np.float64]

    def as_recording(self) -> Recording:
        """The recording in the form that every layout returns (`recording.to_clip` takes it)."""
        return Recording(
            key=self.key,
            group=group_of(self.key),
            family=family_of(self.key),
            positions=self.positions,
            fps=FPS,
            licence=self.licence,
            sentences=tuple(Sentence(c.text, c.start / FPS, c.end / FPS, c.licence) for c in self.captions),
            song=None if self.music is None else Song(self.music, self.beats, normalized_onset(self.music[:, ONSET])),
            residual=self.residual,
        )


class DataPack:
    """The pack in a folder; recordings are read and retargeted one at a time.

    Attributes:
        files: every file that is read.
        skipped: captions and music without motion.

    Raises:
        InvalidInput: the folder is not a data pack.
    """

    def __init__(self, root: Path) -> None:
        motion = {name: root / f"motion/{name}.npz" for name in LICENCES}
        music, table = root / "music/tang_features.npz", root / "captions.csv"
        for path in (*motion.values(), music, table):
            if not path.is_file():
                raise InvalidInput("data", f"{path} is missing; this is not a data pack")
        songs_of = [path for path in (music, root / "music/cmu_features_made.npz") if path.is_file()]
        tables = [path for path in (table, root / "captions_test.csv") if path.is_file()]
        if (test := root / f"motion/{TEST_FILE}.npz").is_file():
            motion[TEST_FILE] = test
        self.files = (*motion.values(), *songs_of, *tables)
        self._captions = {key: rows for path in tables for key, rows in _captions(path).items()}
        self._motion = {name: _opened(path) for name, path in motion.items()}
        self._music = {
            name: pack
            for pack in map(_opened, songs_of)
            for name in dict.fromkeys(entry.partition("/")[0] for entry in pack.files)
        }
        self._pack_of = {
            key: name
            for name, pack in self._motion.items()
            for key in pack.files
            if key.split("_")[0] not in EXCLUDED_SUBJECTS
        }
        present = {key for pack in self._motion.values() for key in pack.files}
        self.skipped = [
            Skipped(f"{path.name}: {key}", "has no motion")
            for path, keys in ((table, self._captions), (music, self._music))
            for key in sorted(set(keys) - present)
        ]

    @staticmethod
    def recognised(root: Path) -> bool:
        """Whether a folder has the files of a data pack."""
        return all((root / f"motion/{name}.npz").is_file() for name in LICENCES) and (root / "captions.csv").is_file()

    @property
    def keys(self) -> list[str]:
        """Keys of the usable recordings, in order."""
        return list(self._pack_of)

    def part_of(self, key: str) -> str:
        """The split of a recording: `train`, `val` or `test`."""
        if self._pack_of[key] == TEST_FILE:
            return TEST
        return HELD_OUT if is_validation(group_of(key)) else TRAINING

    def recording(self, key: str) -> PackRecording:
        """Read one recording.

        Raises:
            InvalidInput: an array is damaged, or not motion or music.
        """
        name = self._pack_of[key]
        positions = _array(self._motion[name], key).astype(np.float64) / 1000
        check_positions(positions, f"{name}:{key}")
        canonical = retarget(positions)
        music, beats = None, np.zeros(0)
        if (songs := self._music.get(key)) is not None:
            music = precomputed(_array(songs, key).astype(np.float32), field=key).features
            beats = np.asarray(_array(songs, f"{key}/beats"), np.float64).reshape(-1)
        return PackRecording(
            key,
            levelled(canonical.positions),
            canonical.residual,
            tuple(self._captions.get(key, ())),
            licence_of(key),
            music,
            beats,
        )


def _opened(path: Path) -> NpzFile:
    try:
        pack = np.load(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInput("data", f"{path.name} is not a readable .npz archive") from error
    if not isinstance(pack, NpzFile):
        raise InvalidInput("data", f"{path.name} is not an .npz archive")
    return pack


def _array(pack: NpzFile, key: str) -> NDArray[Any]:
    try:
        if pack.zip.getinfo(f"{key}.npy").file_size > MAX_ARRAY_BYTES:
            raise InvalidInput("data", f"{key} unpacks to more than an hour of motion")
        return np.asarray(pack[key])
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput("data", f"{key} cannot be read: {error}") from error


def _captions(path: Path) -> dict[str, list[Caption]]:
    rows: dict[str, list[Caption]] = defaultdict(list)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                start, end = round(float(row["start_s"]) * FPS), round(float(row["end_s"]) * FPS)
                licence = CAPTION_LICENCES.get(row["source"], row["source"])
                for clip in takes_of(row["clip"]):
                    rows[clip].append(Caption(row["caption"], start, end, licence))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
        raise InvalidInput("data", f"{path.name} is not a table of captions: {error!r}") from error
    return rows


def takes_of(clip: str) -> tuple[str, ...]:
    """Recordings that a caption is about: of a couple, `salsa_NN`, both dancers."""
    return tuple(f"{subject}_{clip[6:]}" for subject in COUPLE) if clip.startswith("salsa_") else (clip,)


def group_of(key: str) -> str:
    """The dance of a Tang recording (`W_3_s0` -> `W_3`), the take of a CMU one; 60 and 61 danced together."""
    if not key[:1].isdigit():
        dance = "_".join(key.split("_")[:2])
        return DUPLICATES.get(dance, dance)
    subject, _, take = key.partition("_")
    return f"salsa_{take}" if subject in COUPLE else key


def family_of(key: str) -> str:
    """Genre letter of a Tang recording, subject of a CMU one (salsa for 60 and 61)."""
    return group_of(key).split("_")[0]


def licence_of(key: str) -> str:
    """Licence tag of a recording's motion."""
    if key.startswith("ad_"):
        return ANIMATED_DRAWINGS
    return CMU if key[:1].isdigit() else TANG


def is_validation(group: str) -> bool:
    """Whether a group is held out: a fixed tenth or so of the dances and takes."""
    return group in VALIDATION_GROUPS
