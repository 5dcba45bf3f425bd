"""How step batches reach an engine: through memory that a Triton server shares, as messages where that fails."""

import asyncio
import gc
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_generator import tiny_inputs, tiny_repository, tiny_spec

from choreo.errors import DeadlineExceeded
from serving.engines.shared_region import SHARED_MEMORY, SharedRegion
from serving.engines.tensors import Tensors
from serving.engines.triton import TritonEngine
from serving.sampling.transports import MessageTransport, SharedMemoryTransport, transport_for
from serving.triton.supervisor import TritonServer, TritonSettings

SPEC = tiny_spec()
ROWS = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tiny_repository(tmp_path_factory.mktemp("waves") / "model_repo")
    settings = TritonSettings(poll_s=0.05, canary_period_s=3600, shared_memory_mib=2)
    with TritonServer(repository, settings) as server:
        yield server


def segments(waves: SharedMemoryTransport) -> set[Path]:
    return set(SHARED_MEMORY.glob(f"{waves._prefix}*"))


def fill(inputs: Tensors, seed: int) -> None:
    for name, values in tiny_inputs(SPEC, "denoiser", ROWS, seed).items():
        inputs[name][:ROWS] = values


def through(server: TritonServer, use: Callable[[TritonEngine, SharedMemoryTransport], Awaitable[None]]) -> None:
    async def main() -> None:
        engine = TritonEngine([server.grpc_url])
        waves = transport_for(engine, SPEC)
        assert isinstance(waves, SharedMemoryTransport)
        try:
            await use(engine, waves)
        finally:
            await waves.close()
            await engine.close()
        assert not segments(waves)

    asyncio.run(main())


@pytest.mark.parametrize("rows", [1, 4, ROWS])
def test_a_wave_in_shared_memory_is_a_wave_of_arrays(server: TritonServer, rows: int) -> None:
    async def use(engine: TritonEngine, waves: SharedMemoryTransport) -> None:
        first, second = waves.inputs(ROWS), waves.inputs(ROWS)
        for seed, inputs in enumerate((first, second)):
            fill(inputs, seed)
        both = await asyncio.gather(*(waves.evaluate(inputs, rows, None) for inputs in (first, second)))
        for inputs, ours in zip((first, second), both, strict=True):
            theirs = await MessageTransport(engine, SPEC).evaluate(inputs, rows, None)
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
        assert len(segments(waves)) >= 4

    through(server, use)


def test_what_was_changed_in_place_is_what_is_evaluated_next(server: TritonServer) -> None:
    async def use(engine: TritonEngine, waves: SharedMemoryTransport) -> None:
        inputs = waves.inputs(ROWS)
        fill(inputs, 0)
        once = (await waves.evaluate(inputs, 2, None)).copy()
        inputs["x"][1] += 1
        again = await waves.evaluate(inputs, 2, None)
        np.testing.assert_allclose(again[0], once[0], atol=1e-5)
        assert np.abs(again[1] - once[1]).max() > 1e-3

    through(server, use)


def test_a_server_that_was_restarted_is_told_again_where_the_memory_is(server: TritonServer) -> None:
    async def use(engine: TritonEngine, waves: SharedMemoryTransport) -> None:
        inputs = waves.inputs(ROWS)
        fill(inputs, 0)
        before, restarts = (await waves.evaluate(inputs, ROWS, None)).copy(), server.restarts
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        while server.restarts == restarts:
            await asyncio.sleep(0.02)
        np.testing.assert_allclose(await waves.evaluate(inputs, ROWS, None), before, atol=1e-5)

    through(server, use)


def test_after_a_late_wave_its_answer_has_nowhere_to_go(server: TritonServer) -> None:
    async def use(engine: TritonEngine, waves: SharedMemoryTransport) -> None:
        inputs = waves.inputs(ROWS)
        fill(inputs, 0)
        await waves.evaluate(inputs, ROWS, None)
        held = segments(waves)
        with pytest.raises(DeadlineExceeded):
            await waves.evaluate(inputs, ROWS, time.monotonic() - 1)
        assert len(held - segments(waves)) == len(segments(waves) - held) == 1
        ours = await waves.evaluate(inputs, ROWS, None)
        np.testing.assert_allclose(ours, await MessageTransport(engine, SPEC).evaluate(inputs, ROWS, None), atol=1e-5)

    through(server, use)


def test_a_server_that_cannot_see_the_memory_gets_messages(
    server: TritonServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(engine: TritonEngine, waves: SharedMemoryTransport) -> None:
        inputs = waves.inputs(ROWS)
        fill(inputs, 0)
        for path in segments(waves):
            path.unlink()  # what a server in a container of its own would see: nothing of that name
        ours = await waves.evaluate(inputs, ROWS, None)
        np.testing.assert_allclose(ours, await MessageTransport(engine, SPEC).evaluate(inputs, ROWS, None), atol=1e-5)
        assert "as messages" in caplog.text

    through(server, use)


def test_a_region_holds_its_arrays_apart_and_leaves_no_name_behind() -> None:
    region = SharedRegion(f"choreo-test-{os.getpid()}", {"a": (3,), "b": (2, 5)}, 7)
    try:
        region.arrays["a"][:] = 1
        region.arrays["b"][:] = 2
        assert (region.arrays["a"] == 1).all()
        assert region.place("a", range(2, 4)) == (24, 24)
        offset, size = region.place("b", range(1, 7))
        assert offset % 4 == 0
        assert size == 6 * 40
        assert offset - 40 >= 7 * 12
        with pytest.raises(FileExistsError):
            SharedRegion(region.name, {"a": (1,)}, 1)
    finally:
        region.unlink()
    region.unlink()
    assert (region.arrays["b"] == 2).all()
    assert not (SHARED_MEMORY / region.name).exists()


def test_a_region_that_nobody_holds_is_gone() -> None:
    region = SharedRegion(f"choreo-test-{os.getpid()}", {"a": (3,)}, 7)
    path = SHARED_MEMORY / region.name
    assert path.exists()
    del region
    gc.collect()
    assert not path.exists()


def test_a_region_that_does_not_fit_is_not_left_half_made() -> None:
    with pytest.raises(OSError, match=r"large|space|Invalid"):
        SharedRegion("choreo-test-vast", {"a": (1 << 40,)}, 1 << 10)
    assert not (SHARED_MEMORY / "choreo-test-vast").exists()
