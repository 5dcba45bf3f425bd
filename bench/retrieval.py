"""Speed, recall and size of phrase libraries by number of phrases and kind of index.

A library of each size is drawn (`bench.synthetic_phrases`) and written as a real one: table, motion, index, manifest.
Each contender is built in one process and served in another, which only opens the library and searches, so that its
memory is what a server needs. Motion is mapped and is not touched by a search: synthetic phrases have that of the
phrases they were drawn from. Recall is of the true scores of what was found, ties counted (`retrieval.indices.recall`).
A case is index/size/batch, the batch being how many queries come at a time, and has all figures, also those that the
batch does not change; `resident_mib` is anonymous memory.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.report import Row, say, show, skipped
from bench.synthetic_phrases import QUESTIONS, SyntheticPhrases
from choreo.errors import ChoreoError, InvalidInput
from choreo.shipped import shipped
from choreo.text.encoders import text_encoder
from retrieval.building.build import build_library
from retrieval.building.sources import open_sources
from retrieval.building.table_stream import TableWriter
from retrieval.indices.base import RECALL_AT
from retrieval.indices.device import find_device
from retrieval.indices.hnsw import HnswIndex
from retrieval.indices.index import FlatIndex
from retrieval.indices.ivf import TRAINING, IvfIndex
from retrieval.indices.recall import TIE
from retrieval.library import manifest as files
from retrieval.library.library import PhraseLibrary

SIZES: Final = (10_000, 100_000, 1_000_000)
QUICK: Final = (2_000, 20_000)
CPU: Final = (FlatIndex.kind, IvfIndex.kind, HnswIndex.kind)
GPU: Final = (FlatIndex.kind, IvfIndex.kind)
BUNDLED: Final = shipped("weights", "phrases")
_QUERIES: Final = 384
_BATCH: Final = 20_000
_SEED: Final = 7


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 2 on bad input."""
    given = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="choreo bench retrieval", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default=None, help="numbers of phrases, between commas")
    parser.add_argument("--quick", action="store_true", help=f"sizes {', '.join(map(str, QUICK))}")
    parser.add_argument("--data", type=Path, help="draw phrases like those of these recordings; omitted: the bundled")
    parser.add_argument("--largest-hnsw", type=int, default=100_000, help="above, its build is not waited for")
    parser.add_argument("--folder", type=Path, help="where to work; omitted: the folder for temporary files")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(given)
    try:
        sizes = _sizes(args.sizes, args.quick)
        with tempfile.TemporaryDirectory(prefix="choreo-bench-", dir=args.folder) as folder:
            rows = list(_rows(Path(folder), args.data, sizes, args.largest_hnsw))
    except InvalidInput as error:
        say(f"choreo: {error}")
        return 2
    except ChoreoError as error:
        say(f"choreo: {error}")
        return 1
    show("retrieval", given, rows, args.json)
    return 0


def _sizes(text: str | None, quick: bool) -> list[int]:
    if text is None:
        return list(QUICK if quick else SIZES)
    try:
        sizes = [int(size) for size in text.split(",")]
    except ValueError as error:
        raise InvalidInput("sizes", f"must be whole numbers between commas, got {text}") from error
    if not sizes or min(sizes) < TRAINING[0]:
        raise InvalidInput("sizes", f"must be at least {TRAINING[0]} each, got {text}")
    return sizes


def _rows(folder: Path, data: Path | None, sizes: Sequence[int], largest_hnsw: int) -> Iterator[Row]:
    encoder = text_encoder("minilm")
    real = BUNDLED
    if data is not None:
        real = folder / "real"
        say(f"building a library from {data}")
        build_library(open_sources(data).recordings, real, encoder)
    drawn = SyntheticPhrases.like(PhraseLibrary.open(real), encoder)
    say(f"{len(drawn.phrases)} real phrases, {drawn.repeats:.1f} to a text; steps {drawn.steps}")
    for size in sizes:
        work = folder / str(size)
        work.mkdir()
        say(f"{size} phrases: drawing")
        tenth = _draw(drawn, real, work, size)
        for kind in CPU:
            case = f"{kind}/{size}"
            if kind == HnswIndex.kind and size > largest_hnsw:
                yield skipped(case, f"its build takes too long; --largest-hnsw is {largest_hnsw}")
                continue
            build_s = float(_contend("build", work, kind)["seconds"])
            yield from _served(case, work, kind, tenth, build_s, gpu=False)
            if kind in GPU:
                yield from _on_gpu(f"{kind}-gpu/{size}", work, kind, tenth, build_s)
            (work / kind / files.INDEX).unlink()
        for path in work.glob("*.npy"):
            path.unlink()


def _draw(drawn: SyntheticPhrases, real: Path, work: Path, size: int) -> np.ndarray:
    """Write table, motion, vectors and questions; returns the score (Q,) of the tenth-best row for each question."""
    import faiss

    rng, config = np.random.default_rng(_SEED), drawn.embedder.config
    vectors = np.lib.format.open_memmap(work / "vectors.npy", "w+", np.float32, (size, config.dim))
    table, row = TableWriter(work / files.TABLE), 0
    for batch in drawn.batches(size, _BATCH, rng):
        vectors[row : row + len(batch.parents)] = drawn.embedder.phrases(batch.columns, batch.texts)
        for i in range(len(batch.parents)):
            table.append(drawn.phrase(batch, i, row + i))
        row += len(batch.parents)
    table.close()
    shutil.copy(real / files.MOTION, work / files.MOTION)
    questions = drawn.questions(_QUERIES, rng)
    asked = drawn.embedder.queries(questions)
    np.save(work / "asked.npy", asked)
    shutil.copy(real / files.NAME, work / files.NAME)
    songs = [None if q.music is None else vars(q.music) for q in questions]
    texts = [None if q.text is None else np.asarray(q.text).tolist() for q in questions]
    (work / "questions.json").write_text(json.dumps({"texts": texts, "songs": songs}), encoding="utf-8")
    best, _ = faiss.knn(asked, vectors, RECALL_AT, metric=faiss.METRIC_INNER_PRODUCT)
    return np.asarray(best[:, -1])


def _served(case: str, work: Path, kind: str, tenth: np.ndarray, build_s: float, gpu: bool) -> Iterator[Row]:
    found = _contend("serve", work, kind, gpu)
    rows, asked = np.array(found.pop("rows")), np.load(work / "asked.npy")
    vectors = np.load(work / "vectors.npy", mmap_mode="r")
    scores = np.einsum("qd,qkd->qk", asked, vectors[np.maximum(rows, 0)])
    right = (rows >= 0) & (scores >= tenth[:, None] - TIE)
    recall = f"recall_at_{RECALL_AT}"
    by_question = {f"{recall}_{name}": right[i :: len(QUESTIONS)] for i, name in enumerate(QUESTIONS)}
    recalls = {name: float(hits.mean()) for name, hits in {recall: right, **by_question}.items()}
    of_library = {**recalls, "build_s": build_s, **found.pop("memory")}
    for batch, speeds in found.items():
        for name, value in {**of_library, **speeds}.items():
            yield Row(f"{case}/{batch}", name, value, _unit(name))


def _unit(metric: str) -> str:
    ends = {"queries_per_s": "queries/s", "_ms": "ms", "_mib": "MiB", "_s": "s"}
    return next((unit for end, unit in ends.items() if metric.endswith(end)), "")


def _on_gpu(case: str, work: Path, kind: str, tenth: np.ndarray, build_s: float) -> Iterator[Row]:
    device = find_device()
    if device.number is None:
        yield skipped(case, device.reason)
    else:
        yield from _served(case, work, kind, tenth, build_s, gpu=True)


def _contend(step: str, work: Path, kind: str, gpu: bool = False) -> dict[str, Any]:
    """Build or serve one kind of index in a process of its own."""
    say(f"{work.name} phrases: {step} {kind}{' on the GPU' if gpu else ''}")
    environment = dict(os.environ) if gpu else {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    call = [sys.executable, "-m", "bench.retrieval_contender", step, str(work), kind]
    done = subprocess.run(call, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode:
        raise ChoreoError(f"{step} {kind} at {work.name} phrases ended with {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    # As an exception, so that the work folder goes and the contender ends with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
