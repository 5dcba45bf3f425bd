"""A worker over a simulated denoiser: files, metadata that is a function of the request, and engines that fail."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.conditioned_engine import ConditionedEngine
from choreo.errors import BackendUnavailable
from choreo.generators.base import Tensors
from choreo.motion.formats.npz import read_npz
from choreo.music.synth import synthesize_song, write_wav
from serving.batch.attachments import AttachmentReader
from serving.batch.catalog import CatalogRow
from serving.batch.config import WorkerConfig
from serving.batch.items import ItemDefaults
from serving.batch.outcome import Outcome, RunStopped
from serving.batch.storage import LocalStore
from serving.batch.worker import Worker
from serving.settings import Settings

FIELDS = {"text_prompt": "a waltz", "duration": 1.0, "num_steps": 2}


class FakeBroken(ConditionedEngine):
    """Fails its first calls, or all."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self._left = calls

    async def infer(
        self, graph: str, inputs: Mapping[str, NDArray[np.float32]], *, deadline: float | None = None
    ) -> Tensors:
        if self._left > 0:
            self._left -= 1
            raise BackendUnavailable("no Triton server could answer")
        return await super().infer(graph, inputs, deadline=deadline)


def config(folder: Path, make_engine: Any = ConditionedEngine, **settings: Any) -> WorkerConfig:
    (folder / "out").mkdir(exist_ok=True)
    reader = AttachmentReader(str(folder), False, (), 1 << 24)
    defaults = ItemDefaults(("npz", "bvh"))
    return WorkerConfig(Settings(**settings), LocalStore(folder / "out"), reader, defaults, make_engine=make_engine)


def dance(made: WorkerConfig, *bodies: dict[str, Any], apart: bool = False) -> list[Outcome]:
    rows = [CatalogRow(i, i + 1, f"item {i}", body) for i, body in enumerate(bodies)]

    async def run() -> list[Outcome]:
        async with Worker(made) as worker:
            if apart:
                return [(await worker.run([row]))[0] for row in reversed(rows)]
            return await worker.run(rows)

    return sorted(asyncio.run(run()), key=lambda outcome: outcome.index)


def test_files_and_rows_do_not_depend_on_what_was_danced_before(tmp_path: Path) -> None:
    samples, rate, _ = synthesize_song(120.0, 2.0)
    bodies = [FIELDS, FIELDS | {"text_prompt": "a tango"}, {"audio": "song.wav", "num_steps": 1}, {"audio": "no.wav"}]
    found = []
    for name in ("together", "apart"):
        folder = tmp_path / name
        folder.mkdir()
        write_wav(folder / "song.wav", samples, rate)
        outcomes = dance(config(folder), *bodies, apart=name == "apart")
        files = {str(p.relative_to(folder)): p.read_bytes() for p in (folder / "out").rglob("*") if p.is_file()}
        found.append((outcomes, files))
    assert found[0] == found[1]
    outcomes, files = found[0]
    assert [outcome.succeeded for outcome in outcomes] == [True, True, True, False]
    assert len(files) == 6
    row = json.loads(outcomes[0].row)
    motion = read_npz(tmp_path / "apart" / "out" / row["response"]["files"]["npz"])
    assert motion.num_frames == row["response"]["meta"]["num_frames"] == 30
    assert motion.meta["seed"] == row["response"]["meta"]["seed"]
    assert json.loads(outcomes[3].row)["error"] == {
        "code": "invalid-input", "message": "audio: there is no file 'no.wav'", "line": 4, "field": "audio"
    }  # fmt: skip


def test_an_engine_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    (outcome,) = dance(config(tmp_path, lambda: FakeBroken(3)), FIELDS)
    assert outcome.succeeded


def test_an_engine_that_stays_away_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunStopped, match="no Triton server could answer"):
        dance(config(tmp_path, lambda: FakeBroken(10**9), batch_patience_s=0.0), FIELDS)


def test_results_that_cannot_be_written_stop_the_run(tmp_path: Path) -> None:
    made = config(tmp_path)
    (tmp_path / "out" / "files").write_text("in the way")
    with pytest.raises(RunStopped, match="could not be written"):
        dance(made, FIELDS)


def test_the_best_of_several_samples_is_an_items_dance(tmp_path: Path) -> None:
    several, again = dance(config(tmp_path), FIELDS | {"num_samples": 3, "seed": 5}, FIELDS | {"seed": 5})
    meta = json.loads(several.row)["response"]["meta"]
    assert [each["seed"] for each in meta["samples"]] == [5, 6, 7]
    assert "samples" not in json.loads(again.row)["response"]["meta"]
