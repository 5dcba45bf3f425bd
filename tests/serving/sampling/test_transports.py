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
from choreo.generators.base import Tensors
from serving.engines.shared_region import SHARED_MEMORY, SharedRegion
from serving.engines.triton import TritonEngine
from serving.sampling.transports import MessageTransport, SharedMemoryTransport, transport_for
from serving.triton.launch import TritonSettings
from serving.triton.supervisor import TritonServer

SPEC = tiny_spec()
KEY, GRAPH = SPEC.key("denoiser"), SPEC.graph("denoiser")
ROWS = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tiny_repository(tmp_path_factory.mktemp("batches") / "model_repo")
    settings = TritonSettings(poll_s=0.05, canary_period_s=3600, shared_memory_mib=2)
    with TritonServer(repository, settings) as server:
        yield server


def segments(transport: SharedMemoryTransport) -> set[Path]:
    return set(SHARED_MEMORY.glob(f"{transport._prefix}*"))


def fill(inputs: Tensors, seed: int) -> None:
    for name, values in tiny_inputs(SPEC, "denoiser", ROWS, seed).items():
        inputs[name][:ROWS] = values


def same(ours: Tensors, theirs: Tensors) -> None:
    assert ours.keys() == theirs.keys() == {"x0"}
    np.testing.assert_allclose(ours["x0"], theirs["x0"], atol=1e-5)


def through(server: TritonServer, use: Callable[[TritonEngine, SharedMemoryTransport], Awaitable[None]]) -> None:
    async def main() -> None:
        engine = TritonEngine([server.grpc_url])
        transport = transport_for(engine)(KEY, GRAPH)
        assert isinstance(transport, SharedMemoryTransport)
        try:
            await use(engine, transport)
        finally:
            await transport.close()
            await engine.close()
        assert not segments(transport)

    asyncio.run(main())


def test_a_graph_of_two_outputs_in_shared_memory(server: TritonServer) -> None:
    async def main() -> None:
        engine = TritonEngine([server.grpc_url])
        conditioner, given = SPEC.graph("conditioner"), tiny_inputs(SPEC, "conditioner", 3)
        transport = transport_for(engine)(SPEC.key("conditioner"), conditioner)
        inputs = transport.inputs(ROWS)
        for name, values in given.items():
            inputs[name][:3] = values
        ours = await transport.evaluate(inputs, 3, None)
        theirs = await engine.infer(SPEC.key("conditioner"), given)
        assert ours.keys() == theirs.keys() == {"context", "context_mask"}
        for name, values in theirs.items():
            np.testing.assert_allclose(ours[name], values, atol=1e-5)
        await transport.close()
        await engine.close()

    asyncio.run(main())


def test_without_shared_memory_arrays_are_messages(server: TritonServer) -> None:
    async def main() -> None:
        engine = TritonEngine([server.grpc_url])
        transport = transport_for(engine, shared_memory=False)(KEY, GRAPH)
        assert isinstance(transport, MessageTransport)
        inputs = transport.inputs(ROWS)
        fill(inputs, 0)
        out = await transport.evaluate(inputs, 2, None)
        np.testing.assert_allclose(out["x0"], np.sqrt(inputs["x"][:2]) / 2, rtol=1e-6)
        await transport.close()
        await engine.close()

    asyncio.run(main())


@pytest.mark.parametrize("rows", [1, 4, ROWS])
def test_a_batch_in_shared_memory_is_a_batch_of_arrays(server: TritonServer, rows: int) -> None:
    async def use(engine: TritonEngine, transport: SharedMemoryTransport) -> None:
        first, second = transport.inputs(ROWS), transport.inputs(ROWS)
        for seed, inputs in enumerate((first, second)):
            fill(inputs, seed)
        both = await asyncio.gather(*(transport.evaluate(inputs, rows, None) for inputs in (first, second)))
        for inputs, ours in zip((first, second), both, strict=True):
            theirs = await MessageTransport(engine, KEY, GRAPH).evaluate(inputs, rows, None)
            assert ours["x0"].shape == (rows, 8, 4)
            same(ours, theirs)
        assert len(segments(transport)) >= 4

    through(server, use)


def test_what_was_changed_in_place_is_what_is_evaluated_next(server: TritonServer) -> None:
    async def use(engine: TritonEngine, transport: SharedMemoryTransport) -> None:
        inputs = transport.inputs(ROWS)
        fill(inputs, 0)
        once = (await transport.evaluate(inputs, 2, None))["x0"].copy()
        inputs["x"][1] += 1
        again = (await transport.evaluate(inputs, 2, None))["x0"]
        np.testing.assert_allclose(again[0], once[0], atol=1e-5)
        assert np.abs(again[1] - once[1]).max() > 1e-3

    through(server, use)


def test_a_server_that_was_restarted_is_told_again_where_the_memory_is(server: TritonServer) -> None:
    async def use(engine: TritonEngine, transport: SharedMemoryTransport) -> None:
        inputs = transport.inputs(ROWS)
        fill(inputs, 0)
        before, restarts = (await transport.evaluate(inputs, ROWS, None))["x0"].copy(), server.restarts
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        while server.restarts == restarts:
            await asyncio.sleep(0.02)
        same(await transport.evaluate(inputs, ROWS, None), {"x0": before})

    through(server, use)


def test_after_a_late_batch_its_answer_has_nowhere_to_go(server: TritonServer) -> None:
    async def use(engine: TritonEngine, transport: SharedMemoryTransport) -> None:
        inputs = transport.inputs(ROWS)
        fill(inputs, 0)
        await transport.evaluate(inputs, ROWS, None)
        held = segments(transport)
        with pytest.raises(DeadlineExceeded):
            await transport.evaluate(inputs, ROWS, time.monotonic() - 1)
        assert len(held - segments(transport)) == len(segments(transport) - held) == 1
        ours = await transport.evaluate(inputs, ROWS, None)
        same(ours, await MessageTransport(engine, KEY, GRAPH).evaluate(inputs, ROWS, None))

    through(server, use)


def test_a_server_that_cannot_see_the_memory_gets_messages(
    server: TritonServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(engine: TritonEngine, transport: SharedMemoryTransport) -> None:
        inputs = transport.inputs(ROWS)
        fill(inputs, 0)
        for path in segments(transport):
            path.unlink()  # what a server in a container of its own would see: nothing of that name
        ours = await transport.evaluate(inputs, ROWS, None)
        same(ours, await MessageTransport(engine, KEY, GRAPH).evaluate(inputs, ROWS, None))
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
