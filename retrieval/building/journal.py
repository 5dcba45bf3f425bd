"""The journal of an unfinished build: one file per finished recording, so that the next build continues from there."""

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
from retrieval.library.phrases import STATS, Phrase
from retrieval.library.song_summary import SUMMARY

VERSION: Final = 1
"""Of the extraction; incremented when the same recording gives other phrases."""


class Journal:
    """Finished recordings in a folder, each written atomically and forced to disk before the next begins.

    Args:
        folder: an existing folder.
        options: everything that phrases depend on besides the recording, JSON-serialisable.
    """

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self._folder = folder
        formulas = [VERSION, STATS, SUMMARY]
        self._options = json.dumps([formulas, options], sort_keys=True)

    def get(self, identity: str) -> tuple[Extracted, NDArray[np.float32]] | None:
        """Phrases and text vectors (N, E) of a recording; None if it has to be extracted (again)."""
        try:
            with np.load(self._path(identity), allow_pickle=False) as entry:
                return _restored(json.loads(bytes(entry["document"])), entry["rows"]), entry["texts"]
        except Exception:  # missing or damaged: numpy raises anything for damaged bytes
            return None

    def put(self, identity: str, extracted: Extracted, texts: NDArray[np.float32]) -> None:
        """Record the phrases and text vectors (N, E) of a recording."""
        document = {name: [asdict(it) for it in getattr(extracted, name)] for name in ("phrases", "skipped", "notes")}
        rows = np.concatenate([np.zeros((0, NUM_JOINTS, 3), np.int16), *extracted.rows])
        buffer = io.BytesIO()
        encoded = np.frombuffer(json.dumps(document).encode(), np.uint8)
        np.savez(buffer, document=encoded, rows=rows, texts=texts)
        atomic_write(self._path(identity), buffer.getvalue())

    def _path(self, identity: str) -> Path:
        digest = hashlib.sha256(f"{self._options}\0{identity}".encode("utf-8", "surrogateescape")).hexdigest()
        return self._folder / f"{digest[:32]}.npz"


def _restored(document: dict[str, Any], rows: NDArray[np.int16]) -> Extracted:
    phrases = []
    for values in document["phrases"]:
        lists: dict[str, Any] = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        phrases.append(Phrase(**(values | lists)))
    ends = np.cumsum([0, *(phrase.num_frames for phrase in phrases)])
    if rows.dtype != np.int16 or len(rows) != ends[-1]:
        raise ValueError("rows and phrases disagree")
    return Extracted(
        phrases,
        np.split(rows, ends[1:-1]) if phrases else [],
        [Remark(**remark) for remark in document["skipped"]],
        [Remark(**remark) for remark in document["notes"]],
    )
