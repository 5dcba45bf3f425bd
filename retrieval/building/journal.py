"""What an unfinished build has done already, one file per recording, so that the next one goes on from there."""

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.files import atomic_write
from choreo.motion.skeleton import NUM_JOINTS
from retrieval.building.extraction import Extracted, Remark
from retrieval.library.phrases import KINETIC, STATS, Phrase
from retrieval.library.song_summary import SUMMARY

VERSION: Final = 1
"""Of how phrases are made; counted up when the same recording gives other phrases."""


class Journal:
    """Finished recordings in a folder, each written whole and forced to disk before the next begins.

    Args:
        folder: where; it exists.
        options: everything besides the recording itself that its phrases depend on, JSON-serialisable.
    """

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self._folder = folder
        formulas = [VERSION, STATS, KINETIC, SUMMARY]
        self._options = json.dumps([formulas, options], sort_keys=True)

    def get(self, identity: str) -> tuple[Extracted, NDArray[np.float32]] | None:
        """Phrases and text vectors (N, E) of a recording, or None if it must be done (again)."""
        try:
            with np.load(self._path(identity), allow_pickle=False) as entry:
                document = json.loads(bytes(entry["document"]))
                rows, texts = entry["rows"], entry["texts"]
            return _restored(document, rows), texts
        except FileNotFoundError:
            return None
        except Exception:  # a damaged entry is nothing worse than a missing one, whatever its bytes make numpy raise
            return None

    def put(self, identity: str, extracted: Extracted, texts: NDArray[np.float32]) -> None:
        """Note that a recording is done."""
        document = {
            "phrases": [asdict(phrase) for phrase in extracted.phrases],
            "skipped": [asdict(remark) for remark in extracted.skipped],
            "notes": [asdict(remark) for remark in extracted.notes],
        }
        rows = np.concatenate([np.zeros((0, NUM_JOINTS, 3), np.int16), *extracted.rows])
        buffer = io.BytesIO()
        encoded = np.frombuffer(json.dumps(document).encode(), np.uint8)
        np.savez(buffer, document=encoded, rows=rows, texts=texts)
        atomic_write(self._path(identity), buffer.getvalue())

    def _path(self, identity: str) -> Path:
        digest = hashlib.sha256(f"{self._options}\0{identity}".encode("utf-8", "surrogateescape")).hexdigest()
        return self._folder / f"{digest[:32]}.npz"


def _restored(document: dict[str, Any], rows: NDArray[np.int16]) -> Extracted:
    phrases = [_phrase(values) for values in document["phrases"]]
    ends = np.cumsum([phrase.num_frames for phrase in phrases])
    if rows.dtype != np.int16 or len(rows) != (int(ends[-1]) if phrases else 0):
        raise ValueError("rows and phrases disagree")
    return Extracted(
        phrases,
        np.split(rows, ends[:-1]) if phrases else [],
        [Remark(**remark) for remark in document["skipped"]],
        [Remark(**remark) for remark in document["notes"]],
    )


def _phrase(values: dict[str, Any]) -> Phrase:
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Phrase(**(values | lists))
