"""Writing a library: all files in a folder next to the target, which replaces the target when it is complete."""

import heapq
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Final, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.files import swap_folder
from choreo.motion.skeleton import NUM_JOINTS
from retrieval.building.build_folder import BuildFolder
from retrieval.building.table_stream import TableWriter, phrase_batches
from retrieval.indices.index import AUTO, build_index, stored_vectors
from retrieval.library import manifest as files
from retrieval.library.embedding import EmbeddingConfig, QueryEmbedder
from retrieval.library.library import PhraseLibrary
from retrieval.library.manifest import Manifest, entries
from retrieval.library.phrases import Phrase

SAMPLE: Final = 10_000
"""Size of the sample for an embedding's statistics: the smallest ids, which is fair because ids are hashes."""
_COPIED_FRAMES: Final = 65_536


class LibraryWriter:
    """Collects phrases; motion, rows and text vectors go to disk at once, so a library may be larger than memory.

    As a context manager: `add` phrases, then `commit`. Without a commit, or after an error, `out` is unchanged and
    nothing remains but a journal with entries.

    Attributes:
        journal: folder that a killed build leaves to the next one.
        base: manifest of the library that is extended; None for a new one.

    Args:
        out: folder that the library will be; an older one is replaced or extended.
        extend: name and dimension of the text encoder; if given, the phrases at `out` are kept with their embeddings.
    Raises:
        InvalidInput: `out` exists and is not a library, or another process builds it.
        InvalidArtifact: the library to extend is missing or broken, or has another text encoder.
        OSError: the parent folder of `out` cannot be written.
    """

    def __init__(self, out: Path, extend: tuple[str, int] | None = None) -> None:
        self._out = Path(os.path.abspath(out))
        if self._out.exists() and not _replaceable(self._out):
            raise InvalidInput("out", f"{out} exists and is not a phrase library")
        self._folder = BuildFolder(self._out)
        self.journal = self._folder.journal
        self.base: Manifest | None = None
        self._frames = self._count = 0
        self._ids: set[int] = set()
        self._licences: Counter[str] = Counter()
        self._sample: list[tuple[int, int, Phrase, NDArray[np.float32] | None]] = []  # a heap: -id, row, phrase, text
        self._motion: IO[bytes] = (self._folder.part / files.MOTION).open("wb+")
        self._texts: IO[bytes] = (self._folder.scratch / "texts").open("wb+")
        self._table = TableWriter(self._folder.part / files.TABLE)
        self._committed = False
        try:
            self._write_header()
            if extend is not None:
                self._copy_base(extend)
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    @property
    def added(self) -> int:
        """Number of phrases so far, without those of the library that is extended."""
        return self._count - self._kept

    @property
    def sample(self) -> tuple[list[Phrase], NDArray[np.float32]]:
        """At most `SAMPLE` of the phrases so far, in their order, and the text vectors (n, E) of the new ones."""
        by_row = sorted(self._sample, key=lambda entry: entry[1])
        texts = np.array([text for _, _, _, text in by_row if text is not None])
        return [phrase for _, _, phrase, _ in by_row], texts

    def add(self, phrase: Phrase, rows: NDArray[np.int16], text: NDArray[np.floating]) -> bool:
        """Append a phrase, its motion (T, 22, 3) in millimetres and the vector (E,) of its words.

        Returns:
            False if there is an equal phrase already.
        Raises:
            InvalidInput: the motion has another type or shape.
            OSError: a file cannot be written.
        """
        if rows.dtype != np.int16 or rows.shape != (phrase.num_frames, NUM_JOINTS, 3):
            raise InvalidInput("rows", f"must be int16 ({phrase.num_frames}, {NUM_JOINTS}, 3), got {rows.shape}")
        if int(phrase.id, 16) in self._ids:
            return False
        vector = np.array(text, np.float32)
        self._motion.write(np.ascontiguousarray(rows).tobytes())
        self._texts.write(vector.tobytes())
        self._append(replace(phrase, first_row=self._frames), vector)
        return True

    def commit(
        self,
        config: EmbeddingConfig,
        index: str = AUTO,
        extras: Mapping[str, bytes] | None = None,
        progress: Callable[[str], None] = lambda step: None,
    ) -> Manifest:
        """Embed the phrases, write index and manifest, and put the library in place.

        Args:
            config: how to embed; for a library that is extended, its own.
            index: kind of index.
            extras: contents of further files by name, which the manifest does not list.
            progress: told of each step of a long index build.
        Raises:
            InvalidInput: there are no phrases, or the text vectors have another dimension.
            OSError: a file cannot be written.
        """
        if not self._count:
            raise InvalidInput("source", "holds no usable phrase")
        self._write_header()
        self._motion.close()
        self._table.close()
        built = build_index(self._embedded(config), index, config.parts, progress)
        built.save(self._folder.part / files.INDEX)
        for name, content in (extras or {}).items():
            (self._folder.part / name).write_bytes(content)
        manifest = Manifest(
            phrases=self._count,
            frames=self._frames,
            index=built.info,
            embedding=config,
            licences=dict(sorted(self._licences.items())),
            files=entries(self._folder.part),
        )
        manifest.write(self._folder.part)
        swap_folder(self._folder.part, self._out)
        self._committed = True
        return manifest

    @property
    def _kept(self) -> int:
        return self.base.phrases if self.base else 0

    def _append(self, phrase: Phrase, text: NDArray[np.float32] | None) -> None:
        number = int(phrase.id, 16)
        self._ids.add(number)
        self._licences[phrase.licence] += 1
        self._table.append(phrase)
        if len(self._sample) < SAMPLE:
            heapq.heappush(self._sample, (-number, self._count, phrase, text))
        elif -number > self._sample[0][0]:
            heapq.heapreplace(self._sample, (-number, self._count, phrase, text))
        self._count += 1
        self._frames += phrase.num_frames

    def _copy_base(self, encoder: tuple[str, int]) -> None:
        """Copy the phrases and motion of the library at `out`."""
        self.base = PhraseLibrary.open(self._out, encoder).manifest
        motion = np.load(self._out / files.MOTION, mmap_mode="r", allow_pickle=False)
        for first in range(0, len(motion), _COPIED_FRAMES):
            self._motion.write(motion[first : first + _COPIED_FRAMES].tobytes())
        for phrases in phrase_batches(self._out / files.TABLE):
            for phrase in phrases:
                self._append(phrase, None)

    def _embedded(self, config: EmbeddingConfig) -> NDArray[np.float32]:
        """Embeddings float32 (N, D) of all phrases, on disk."""
        vectors = np.memmap(self._folder.scratch / "vectors", np.float32, "w+", shape=(self._count, config.dim))
        at = 0
        if self.base:
            for part in stored_vectors(self._out / files.INDEX):
                vectors[at : at + len(part)] = part
                at += len(part)
        embedder = QueryEmbedder(config)
        for phrases, texts in self._new_phrases(config.text_dim):
            vectors[at : at + len(phrases)] = embedder.phrases(phrases, texts)
            at += len(phrases)
        return vectors

    def _new_phrases(self, dim: int) -> Iterator[tuple[list[Phrase], NDArray[np.float32]]]:
        """The added phrases with their text vectors (n, dim), in batches."""
        self._texts.flush()
        if self._texts.tell() != 4 * dim * self.added:
            raise InvalidInput("text", f"vectors must have {dim} numbers")
        self._texts.seek(0)
        row = 0
        for batch in phrase_batches(self._folder.part / files.TABLE):
            phrases = batch[max(self._kept - row, 0) :]
            row += len(batch)
            texts = np.frombuffer(self._texts.read(4 * dim * len(phrases)), np.float32).reshape(len(phrases), dim)
            yield phrases, texts

    def _write_header(self) -> None:
        """Write the .npy header, which numpy pads to keep its length while the first axis grows."""
        self._motion.seek(0)
        shape = (self._frames, NUM_JOINTS, 3)
        npy.write_array_header_1_0(self._motion, {"descr": "<i2", "fortran_order": False, "shape": shape})
        self._motion.flush()

    def _close(self) -> None:
        self._table.abandon()
        self._motion.close()
        self._texts.close()
        self._folder.close(keep_journal=not self._committed)


def _replaceable(path: Path) -> bool:
    return path.is_dir() and ((path / files.NAME).is_file() or not any(path.iterdir()))
