"""The engine in this process."""

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_engine_calls import CONDITIONER, DENOISER, OTHER, SPEC, expected, rows, without_hanging
from tiny_generator import tiny_inputs, tiny_repository

from choreo.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InvalidArtifact,
    InvalidInput,
    MissingDependency,
    NonFiniteOutput,
)
from export.repository import serve_only
from serving.engines.local import LocalEngine
from serving.errors import ModelUnavailable

SLOW = 3e6
"""A `t` that keeps the tiny denoiser busy for much longer than any test."""


@pytest.fixture
def engine(tmp_path: Path) -> LocalEngine:
    return LocalEngine(tiny_repository(tmp_path / "model_repo"), threads=1)


def test_both_graphs(engine: LocalEngine) -> None:
    async def run() -> None:
        assert await engine.models() == {"tiny": SPEC}
        inputs = rows(3)
        out = await engine.infer(DENOISER, inputs)
        np.testing.assert_allclose(out["x0"], expected(inputs), rtol=1e-6)
        assert out["x0"].flags.writeable
        out = await engine.infer(CONDITIONER, tiny_inputs(SPEC, "conditioner", 2))
        assert {name: values.shape for name, values in out.items()} == {
            "context": (2, 3, 5),
            "context_mask": (2, 3),
        }
        await engine.close()

    without_hanging(run())


def test_rows_are_counted_and_more_than_a_graph_takes_are_refused(engine: LocalEngine) -> None:
    async def run() -> None:
        for count in (11, 32):
            inputs = rows(count)
            np.testing.assert_allclose((await engine.infer(DENOISER, inputs))["x0"], expected(inputs), rtol=1e-6)
        with pytest.raises(InvalidInput, match=r"has 33 rows, and the denoiser takes 32") as caught:
            await engine.infer(DENOISER, rows(33))
        assert caught.value.field == "x"
        with pytest.raises(InvalidInput, match=r"has 17 rows, and the conditioner takes 16"):
            await engine.infer(CONDITIONER, tiny_inputs(SPEC, "conditioner", 17))
        assert await engine.statistics() == {CONDITIONER: 0, DENOISER: 43}
        await engine.close()

    without_hanging(run())


def test_several_generators(tmp_path: Path) -> None:
    async def run() -> None:
        root = tiny_repository(tmp_path / "model_repo", SPEC, OTHER)
        engine = LocalEngine(root, threads=1)
        assert list((await engine.models()).items()) == [("tiny", SPEC), ("other", OTHER)]
        shapes = {}
        for spec in (SPEC, OTHER):
            inputs = tiny_inputs(spec, "conditioner", 1)
            shapes[spec.name] = (await engine.infer(spec.key("conditioner"), inputs))["context"].shape
            assert await engine.instances(spec.key("denoiser")) == 1
        assert shapes == {"tiny": (1, 3, 5), "other": (1, 3, 6)}
        await engine.close()
        serve_only(root, ["other"])
        for chosen in (LocalEngine(root), LocalEngine(root, ["tiny"])):
            assert len(await chosen.models()) == 1
            await chosen.close()

    without_hanging(run())


def test_a_graph_that_nobody_has(engine: LocalEngine) -> None:
    async def run() -> None:
        for key in ("denoiser", "other.denoiser", "tiny.decoder"):
            with pytest.raises(ModelUnavailable, match=key):
                await engine.infer(key, rows(1))
            with pytest.raises(ModelUnavailable, match=key):
                await engine.instances(key)
        await engine.close()

    without_hanging(run())


def test_missing_and_broken_graphs(tmp_path: Path) -> None:
    root = tmp_path / "model_repo"
    with pytest.raises(MissingDependency, match="choreo export"):
        LocalEngine(root)
    tiny_repository(root)
    with pytest.raises(MissingDependency, match=r"no generator other .*choreo export"):
        LocalEngine(root, ["other"])
    graph = root / DENOISER / "1" / "model.onnx"
    graph.write_bytes(b"broken")
    with pytest.raises(InvalidArtifact):
        LocalEngine(root)
    graph.unlink()
    with pytest.raises(MissingDependency, match="choreo export"):
        LocalEngine(root)
    serve_only(root, [])
    with pytest.raises(MissingDependency, match="serves no generator"):
        LocalEngine(root)


def test_a_deadline_ends_the_run(engine: LocalEngine) -> None:
    async def run() -> None:
        with pytest.raises(DeadlineExceeded):
            await engine.infer(DENOISER, rows(1), deadline=time.monotonic() - 1)
        with pytest.raises(DeadlineExceeded):
            await engine.infer(DENOISER, rows(1, t=SLOW), deadline=time.monotonic() + 0.1)
        # The thread is free again: the run was ended, not only abandoned.
        began = time.monotonic()
        await engine.infer(DENOISER, rows(1))
        assert time.monotonic() - began < 5
        await engine.close()

    without_hanging(run())


def test_a_cancelled_call_ends_the_run(engine: LocalEngine) -> None:
    async def run() -> None:
        calls = [asyncio.create_task(engine.infer(DENOISER, rows(1, t=SLOW))) for _ in range(2)]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        assert all(isinstance(r, asyncio.CancelledError) for r in await asyncio.gather(*calls, return_exceptions=True))
        await engine.infer(DENOISER, rows(1))
        assert (await engine.statistics())[DENOISER] == 1
        await engine.close()

    without_hanging(run())


def test_nothing_works_after_close(engine: LocalEngine) -> None:
    async def run() -> None:
        await engine.close()
        await engine.close()
        with pytest.raises(BackendUnavailable):
            await engine.infer(DENOISER, rows(1))

    without_hanging(run())


def test_nan_is_withheld(engine: LocalEngine) -> None:
    async def run() -> None:
        with pytest.raises(NonFiniteOutput):
            await engine.infer(DENOISER, rows(2) | {"x": np.full((2, 8, 4), -1, np.float32)})
        await engine.close()

    without_hanging(run())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"x": np.zeros((2, 8, 5))}, "x"),
        ({"x": np.zeros((0, 8, 4))}, "x"),
        ({"t": np.zeros((3, 1))}, "t"),
        ({"t": np.float32(0)}, "t"),
        ({"noise": np.zeros((2, 1))}, "noise"),
    ],
)
def test_wrong_inputs_are_named(engine: LocalEngine, changes: dict[str, NDArray], field: str) -> None:
    async def run() -> None:
        with pytest.raises(InvalidInput) as caught:
            await engine.infer(DENOISER, rows(2) | changes)
        assert caught.value.field == field
        inputs = rows(2)
        del inputs["prior"]
        with pytest.raises(InvalidInput, match="prior"):
            await engine.infer(DENOISER, inputs)
        await engine.close()

    without_hanging(run())
