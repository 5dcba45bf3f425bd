"""Speed, recall and size of phrase libraries by number of phrases and kind of index.

A library of each size is drawn (`bench.synthetic_phrases`) and written like a real one: table, motion, index, manifest.
Each index is built in one process and served in another, which only opens the library and searches, so that its memory
is what a server needs. Motion is memory-mapped and not touched by a search; synthetic phrases share that of the phrases
they were drawn from. Recall is by the true scores of what was found, ties included (`retrieval.indices.recall`). A case
is index/size/batch, the batch being the number of queries per call, and has all figures, including those that do not
depend on the batch; `resident_mib` is anonymous memory.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from bench.command import benchmark, quick
from bench.report import Row, skipped
from bench.synthetic_phrases import QUESTIONS, SyntheticPhrases
from choreo.command_line import numbers, say
from choreo.errors import ChoreoError
from choreo.shipped import shipped
from choreo.text.encoders import text_encoder
from retrieval.building.build import build_library
from retrieval.building.sources import open_sources
from retrieval.building.table_stream import TableWriter
from retrieval.indices.base import RECALL_AT
from retrieval.indices.device import find_device
from retrieval.indices.index import FlatIndex
from retrieval.indices.ivf import TRAINING, IvfIndex
from retrieval.indices.recall import TIE
from retrieval.library import manifest as files
from retrieval.library.library import PhraseLibrary

SIZES: Final = (10_000, 100_000, 1_000_000)
QUICK: Final = (2_000, 20_000)
MAX_SIZE: Final = 100_000_000
CPU: Final = (FlatIndex.kind, IvfIndex.kind)
BUNDLED: Final = shipped("weights", "phrases")
_QUERIES: Final = 384
_BATCH: Final = 20_000
_SEED: Final = 7


@benchmark
def main(
    sizes: Annotated[str | None, typer.Option(help="Numbers of phrases, separated by commas.")] = None,
    quick: Annotated[bool, quick(f"sizes {', '.join(map(str, QUICK))}")] = False,
    data: Annotated[Path | None, typer.Option(help="Recordings to imitate; omitted: the bundled phrases.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Working folder; omitted: that of temporary files.")] = None,
) -> Iterator[Row]:
    """Every kind of index at every size."""
    counts = (QUICK if quick else SIZES) if sizes is None else numbers("sizes", sizes, TRAINING[0], MAX_SIZE)
    with tempfile.TemporaryDirectory(prefix="choreo-bench-", dir=folder) as work:
        yield from _rows(Path(work), data, counts)


def _rows(folder: Path, data: Path | None, sizes: Sequence[int]) -> Iterator[Row]:
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
            build_s = float(_contend("build", work, kind)["seconds"])
            yield from _served(f"{kind}/{size}", work, kind, tenth, build_s, gpu=False)
            yield from _on_gpu(f"{kind}-gpu/{size}", work, kind, tenth, build_s)
            (work / kind / files.INDEX).unlink()
        for path in work.glob("*.npy"):
            path.unlink()


def _draw(drawn: SyntheticPhrases, real: Path, work: Path, size: int) -> np.ndarray:
    """Write table, motion, vectors and questions; return the score (Q,) of the tenth-best row for each question."""
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
    """Build or serve one kind of index in a process of its own and return its JSON document."""
    say(f"{work.name} phrases: {step} {kind}{' on the GPU' if gpu else ''}")
    environment = dict(os.environ) if gpu else {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    call = [sys.executable, "-m", "bench.retrieval_contender", step, str(work), kind]
    done = subprocess.run(call, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode:
        raise ChoreoError(f"{step} {kind} at {work.name} phrases ended with {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    sys.exit(main())
