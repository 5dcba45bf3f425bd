"""Builds or serves one kind of index for `bench.retrieval`: `build|serve FOLDER KIND` prints JSON."""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.report import anonymous_mib, seconds
from choreo.command_line import say
from choreo.errors import InvalidArtifact
from retrieval.indices.base import RECALL_AT
from retrieval.indices.index import build_index
from retrieval.library import manifest as files
from retrieval.library.embedding import Music, Query
from retrieval.library.library import PhraseLibrary
from retrieval.library.manifest import Manifest, entries

BATCH: Final = 64
_SINGLES: Final = 96
_BATCHES: Final = 5
_UNHASHED: Final = 0
"""Size up to which files are hashed when the library is opened: none, so that opening time excludes hashing."""


def build(work: Path, kind: str) -> dict[str, Any]:
    """Index the vectors and write a library into the folder of the index."""
    vectors = np.load(work / "vectors.npy", mmap_mode="r")
    base = Manifest.read(work)
    start = time.perf_counter()
    index = build_index(vectors, kind, base.embedding.parts, say)
    took = time.perf_counter() - start
    folder = work / kind
    folder.mkdir()
    index.save(folder / files.INDEX)
    for name in (files.TABLE, files.MOTION):
        os.link(work / name, folder / name)
    replace(base, phrases=len(vectors), index=index.info, files=entries(folder)).write(folder)
    return {"seconds": took}


def serve(work: Path, kind: str) -> dict[str, Any]:
    """Open the library as a server does, and time searches of one query and of a batch."""
    before = anonymous_mib()
    start = time.perf_counter()
    library = PhraseLibrary.open(work / kind, hash_limit=_UNHASHED)
    opened = time.perf_counter() - start
    if os.environ.get("CUDA_VISIBLE_DEVICES") != "" and library.place.startswith("cpu"):
        raise InvalidArtifact(f"the index should be on a GPU, but is on {library.place}")
    queries = _questions(work)
    rows = np.full((len(queries), RECALL_AT), -1)
    for row, hits in zip(rows, library.search_many(queries, RECALL_AT), strict=True):
        row[: len(hits)] = [int(hit.phrase.id, 16) for hit in hits]
    turn = iter(range(10**9))
    alone = seconds(lambda: library.search(queries[next(turn) % len(queries)], RECALL_AT), _SINGLES, warm_up=6)
    together = seconds(lambda: library.search_many(_some(queries, next(turn)), RECALL_AT), _BATCHES)
    # st_blocks counts what is on disk, also for sparse files.
    disk = sum(512 * (work / kind / name).stat().st_blocks for name in files.FILES)
    resident = {"resident_mib": anonymous_mib(), "resident_before_mib": before}
    memory = {"open_s": opened, **resident, "disk_mib": disk / 2**20}
    return {"rows": rows.tolist(), "memory": memory, "1": _speed(alone, 1), str(BATCH): _speed(together, BATCH)}


def _speed(times: NDArray[np.float64], batch: int) -> dict[str, float]:
    return {
        "queries_per_s": batch * len(times) / float(times.sum()),
        "p50_ms": 1e3 * float(np.median(times)),
        "p95_ms": 1e3 * float(np.quantile(times, 0.95)),
    }


def _some(queries: Sequence[Query], turn: int) -> list[Query]:
    first = turn * BATCH % len(queries)
    return [queries[(first + i) % len(queries)] for i in range(BATCH)]


def _questions(work: Path) -> list[Query]:
    found = json.loads((work / "questions.json").read_text(encoding="utf-8"))
    return [
        Query(None if text is None else np.array(text, np.float32), None if song is None else Music(**song))
        for text, song in zip(found["texts"], found["songs"], strict=True)
    ]


if __name__ == "__main__":
    step, folder, kind = sys.argv[1:]
    print(json.dumps({"build": build, "serve": serve}[step](Path(folder), kind)))
