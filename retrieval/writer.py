"""Writing a library: everything in a folder beside the target, which takes the target's place when it is whole."""

import os
import secrets
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.skeleton import NUM_JOINTS
from retrieval import manifest as files
from retrieval.embedding import EmbeddingConfig, QueryEmbedder
from retrieval.index import FlatIndex
from retrieval.manifest import Manifest, entries
from retrieval.phrases import Phrase
from retrieval.table import PhraseTable


class LibraryWriter:
    """Collects phrases; their motion goes to disk at once, so a library may be larger than memory.

    As a context manager: `add` phrases, then `commit`. Without a commit, or after an error, nothing is left behind.

    Raises:
        InvalidInput: `out` exists and is something else than a library.
        OSError: the folder above `out` cannot be written.
    """

    def __init__(self, out: Path, overwrite: bool = True) -> None:
        self._out = Path(os.path.abspath(out))
        if self._out.exists() and not (overwrite and _replaceable(self._out)):
            raise InvalidInput("out", f"{out} exists" + (" and is not a phrase library" if overwrite else ""))
        self._phrases: list[Phrase] = []
        self._ids: set[str] = set()
        self._rows = 0
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._folder = self._out.parent / f".{self._out.name}.{secrets.token_hex(4)}.part"
        self._folder.mkdir()
        self._motion: IO[bytes] = (self._folder / files.MOTION).open("wb+")
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._motion.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def phrases(self) -> Sequence[Phrase]:
        """What was added so far."""
        return self._phrases

    def add(self, phrase: Phrase, rows: NDArray[np.int16]) -> bool:
        """Append a phrase and its motion (T, 22, 3) in millimetres; False if an equal one is there already."""
        if rows.dtype != np.int16 or rows.shape != (phrase.num_frames, NUM_JOINTS, 3):
            raise InvalidInput("rows", f"must be int16 ({phrase.num_frames}, {NUM_JOINTS}, 3), got {rows.shape}")
        if phrase.id in self._ids:
            return False
        self._motion.write(np.ascontiguousarray(rows).tobytes())
        self._phrases.append(replace(phrase, first_row=self._rows))
        self._ids.add(phrase.id)
        self._rows += len(rows)
        return True

    def commit(self, config: EmbeddingConfig, texts: NDArray[np.floating]) -> Manifest:
        """Embed the phrases by their text vectors (N, E), write table, index and manifest, and take `out`'s place.

        Raises:
            InvalidInput: nothing was added, or the text vectors do not fit.
        """
        if not self._phrases:
            raise InvalidInput("source", "holds no usable phrase")
        self._write_header()
        self._motion.close()
        PhraseTable.of(self._phrases).write(self._folder / files.TABLE)
        FlatIndex.build(QueryEmbedder(config).phrases(self._phrases, texts)).save(self._folder / files.INDEX)
        manifest = Manifest(
            phrases=len(self._phrases),
            frames=self._rows,
            index=FlatIndex.kind,
            embedding=config,
            licences=dict(sorted(Counter(p.licence for p in self._phrases).items())),
            files=entries(self._folder),
        )
        manifest.write(self._folder)
        _sync(self._folder)
        _put_in_place(self._folder, self._out)
        return manifest

    def _write_header(self) -> None:
        """The .npy header; numpy pads it so that it keeps its length while the first axis grows."""
        self._motion.seek(0)
        shape = (self._rows, NUM_JOINTS, 3)
        npy.write_array_header_1_0(self._motion, {"descr": "<i2", "fortran_order": False, "shape": shape})
        self._motion.flush()


def _replaceable(path: Path) -> bool:
    return path.is_dir() and ((path / files.NAME).is_file() or not any(path.iterdir()))


def _put_in_place(folder: Path, out: Path) -> None:
    """Rename; an old library steps aside first, and comes back if the new one cannot take its place."""
    if not out.exists():
        os.rename(folder, out)
        return
    aside = out.parent / f".{out.name}.{secrets.token_hex(4)}.old"
    os.rename(out, aside)
    try:
        os.rename(folder, out)
    except BaseException:
        os.rename(aside, out)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Make files and folder survive a crash before the rename does."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
