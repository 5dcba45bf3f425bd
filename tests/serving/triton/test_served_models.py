"""Several generators on the real tritonserver, while the repository changes under it."""

import asyncio
import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_generator import tiny_spec, write_graphs
from tritonclient.grpc import InferenceServerClient

from choreo.errors import InvalidInput
from choreo.generators.base import Conditioning
from choreo.generators.spec import GeneratorSpec
from export.engine_options import EngineOptions
from export.model_config import RepositorySettings
from export.repository import CONFIG, LOCK, remove_generator, serve_only, write_generator
from serving.engines.leases import Leases
from serving.engines.local import LocalEngine
from serving.engines.triton import TritonEngine
from serving.errors import ModelUnavailable
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.validation import validated_request
from serving.sampling.runner import executor
from serving.settings import Settings
from serving.stages.context_cache import ContextCache
from serving.stages.sampler import Sampler
from serving.triton.launch import TritonSettings
from serving.triton.served_models import ServedModels
from serving.triton.supervisor import TritonServer

SALSA, WALTZ, TANGO = (tiny_spec(name) for name in ("salsa", "waltz", "tango"))
QUICK = TritonSettings(poll_s=0.02, models_poll_s=0.05, canary_period_s=3600, shared_memory_mib=2)
ONE = RepositorySettings(engine=EngineOptions(instances=1))

pytestmark = pytest.mark.e2e


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def export(root: Path, spec: GeneratorSpec, factor: float = 0.5) -> None:
    """Write a generator whose denoiser is `factor` * tanh(x), which is finite for any noise."""
    graphs = write_graphs(root.parent / f"{spec.name}-{factor}", spec)
    model = onnx.load(graphs["denoiser"])
    (root_node,) = [node for node in model.graph.node if node.op_type == "Sqrt"]
    root_node.op_type = "Tanh"
    for weight in model.graph.initializer:
        if weight.name == "half":
            weight.CopyFrom(numpy_helper.from_array(np.array(factor, np.float32), "half"))
    onnx.save(model, graphs["denoiser"])
    write_generator(root, spec, graphs, settings=ONE)


def truncate(root: Path, spec: GeneratorSpec) -> None:
    """Cut the denoiser off, in a model that is written anew like that of any export."""
    graph, config = root / spec.key("denoiser") / "1" / "model.onnx", root / spec.key("denoiser") / CONFIG
    graph.write_bytes(graph.read_bytes()[:100])
    text = config.read_bytes()
    config.unlink()
    config.write_bytes(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "model_repo"
    for spec in (SALSA, WALTZ):
        export(root, spec)
    return root


@pytest.fixture
def server(root: Path) -> Iterator[TritonServer]:
    with TritonServer(root, QUICK) as server:
        yield server
        assert server.restarts == 0


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """As many entries as the supervisor has looked at the repository."""
    looks: list[None] = []
    follow = ServedModels.follow

    def counted(models: ServedModels, url: str) -> bool:
        changed = follow(models, url)
        looks.append(None)
        return changed

    monkeypatch.setattr(ServedModels, "follow", counted)
    return looks


def ready(server: TritonServer) -> set[str]:
    """Models that Triton has loaded."""
    client = InferenceServerClient(server.grpc_url)
    try:
        return {model.name for model in client.get_model_repository_index().models if model.state == "READY"}
    finally:
        client.close()


def keys(*specs: GeneratorSpec) -> set[str]:
    return {spec.key(graph.name) for spec in specs for graph in spec.graphs}


def served(server: TritonServer) -> tuple[str, ...]:
    found = Leases(server.leases).served()
    assert found is not None
    return found.names


def job(model: str | None = None, **fields: Any) -> MotionRequest:
    values = {"text_prompt": "waltz", "seed": 5, "num_steps": 4, "guidance_scale": 1.0, "timeout": 100.0}
    return validated_request(parse_fields(values | {"model": model} | fields), Attachments(), Settings())


HEARD = Conditioning(8, text=np.ones(7, np.float32))


async def danced(sampler: Sampler, model: str | None = None, **fields: Any) -> np.ndarray:
    return (await sampler.sample(job(model, **fields), HEARD, None)).features


def sampling(server: TritonServer, test: Callable[[Sampler], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a sampler as a replica has it: Triton, leases, shared memory."""

    async def run() -> None:
        engine = TritonEngine([server.grpc_url])
        sampler = Sampler(engine, executor(Settings()), ContextCache(1 << 20), leases=Leases(server.leases))
        try:
            await asyncio.wait_for(test(sampler), 90)
        finally:
            await sampler.close()
            await engine.close()

    asyncio.run(run())


def here(root: Path, model: str, **fields: Any) -> np.ndarray:
    """What the repository makes of a request at this moment, in this process."""

    async def run() -> np.ndarray:
        engine = LocalEngine(root, [model], threads=1)
        sampler = Sampler(engine, executor(Settings()))
        try:
            return await danced(sampler, model, **fields)
        finally:
            await sampler.close()
            await engine.close()

    return asyncio.run(run())


def test_two_generators_are_served_at_once(server: TritonServer, root: Path) -> None:
    export(root, TANGO, 0.25)
    remove_generator(root, "tango")

    async def test(sampler: Sampler) -> None:
        assert list(await sampler.models()) == ["salsa", "waltz"]
        jobs = [danced(sampler, name, seed=seed) for name in ("salsa", "waltz") for seed in range(4)]
        results = await asyncio.gather(*jobs)
        for at, (name, seed) in enumerate((name, seed) for name in ("salsa", "waltz") for seed in range(4)):
            expected = await asyncio.to_thread(here, root, name, seed=seed)
            np.testing.assert_allclose(results[at], expected, atol=1e-5)
        with pytest.raises(InvalidInput, match="salsa, waltz"):
            await danced(sampler, "tango")

    assert ready(server) == keys(SALSA, WALTZ)
    sampling(server, test)


def test_one_that_is_added_becomes_usable(server: TritonServer, root: Path) -> None:
    async def test(sampler: Sampler) -> None:
        assert "tango" not in await sampler.models()
        await asyncio.to_thread(export, root, TANGO, 0.25)
        await asyncio.to_thread(until, lambda: "tango" in served(server))
        assert list(await sampler.models()) == ["salsa", "waltz", "tango"]
        np.testing.assert_allclose(
            await danced(sampler, "tango"), await asyncio.to_thread(here, root, "tango"), atol=1e-5
        )

    sampling(server, test)
    assert ready(server) == keys(SALSA, WALTZ, TANGO)
    assert server.healthy()


def test_one_that_is_removed_is_unloaded_when_its_requests_have_ended(server: TritonServer, root: Path) -> None:
    async def test(sampler: Sampler) -> None:
        expected = await asyncio.to_thread(here, root, "salsa", num_steps=150)
        await danced(sampler, "salsa")
        async with Leases(server.leases).hold("salsa"):  # another sampler has a request for it
            long = asyncio.create_task(danced(sampler, "salsa", num_steps=150))
            await asyncio.sleep(0)  # so has this one
            await asyncio.to_thread(remove_generator, root, "salsa")
            await asyncio.to_thread(until, lambda: served(server) == ("waltz",))
            # What is not needed any more is given back, and requests under way go on all the same.
            assert list(await sampler.models()) == ["waltz"]
            with pytest.raises(InvalidInput, match="waltz"):
                await danced(sampler, "salsa")
            await danced(sampler)
            np.testing.assert_allclose(await long, expected, atol=1e-5)
            assert ready(server) == keys(SALSA, WALTZ)
        await asyncio.to_thread(until, lambda: ready(server) == keys(WALTZ))
        await danced(sampler)
        # The supervisor goes on as it was: nothing has died, and another one can come.
        await asyncio.to_thread(export, root, SALSA)
        await asyncio.to_thread(until, lambda: "salsa" in served(server))
        np.testing.assert_allclose(
            await danced(sampler, "salsa"), await asyncio.to_thread(here, root, "salsa"), atol=1e-5
        )

    sampling(server, test)
    assert server.healthy()


CHANGES: dict[str, GeneratorSpec] = {
    "weights": SALSA,
    "normaliser": tiny_spec("salsa", std=(3.0,) * 4),
    "shapes": tiny_spec("salsa", context_dim=6, window=12),
}


@pytest.mark.parametrize("change", CHANGES)
def test_one_that_is_exported_again_is_reloaded_without_a_failed_request(
    server: TritonServer, root: Path, change: str
) -> None:
    old, other = here(root, "salsa", num_steps=8), here(root, "waltz", num_steps=8)

    async def test(sampler: Sampler) -> None:
        kinds: list[str] = []
        new: list[np.ndarray] = []

        def kind(result: np.ndarray) -> str:
            if np.allclose(result, old, atol=1e-5):
                return "old"
            assert new, "neither the old motion nor that of the new export"
            np.testing.assert_allclose(result, new[0], atol=1e-5)
            return "new"

        async def ask(model: str) -> None:
            while kinds[-8:] != ["new"] * 8:
                result = await danced(sampler, model, num_steps=8)
                if model == "salsa":
                    kinds.append(kind(result))
                else:
                    np.testing.assert_allclose(result, other, atol=1e-5)
                await asyncio.sleep(0)

        asking = asyncio.gather(*(ask(model) for model in ("salsa", "salsa", "salsa", "waltz")))
        while len(kinds) < 6:
            await asyncio.sleep(0)
            assert not asking.done()
        await asyncio.to_thread(export, root, CHANGES[change], 0.25)
        new.append(await asyncio.to_thread(here, root, "salsa", num_steps=8))
        assert not np.allclose(new[0], old, atol=1e-3)
        await asking
        assert "old" not in kinds[kinds.index("new") :]

    sampling(server, test)


def test_a_sampler_that_did_not_look_during_a_reload_uses_the_new_contract(server: TritonServer, root: Path) -> None:
    spec = tiny_spec("salsa", std=(3.0,) * 4)

    async def test(sampler: Sampler) -> None:
        before = await danced(sampler, "salsa")
        revision = sampler._leases.served()
        assert revision is not None
        await asyncio.to_thread(export, root, spec)
        expected = await asyncio.to_thread(here, root, "salsa")
        watcher = Leases(server.leases)

        def reloaded() -> bool:
            seen = watcher.served()
            return seen is not None and seen.revision >= revision.revision + 2 and not seen.paused

        await asyncio.to_thread(until, reloaded)
        np.testing.assert_allclose(await danced(sampler, "salsa"), expected, atol=1e-5)
        np.testing.assert_allclose(before * 3, expected, atol=1e-4)

    sampling(server, test)


def test_an_export_that_is_being_written_is_not_looked_at(server: TritonServer, root: Path, looked: list[None]) -> None:
    """Its models are swapped in one after the other; half of them would be another generator."""
    with (root / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writer = threading.Thread(target=export, args=(root, TANGO))
        writer.start()
        serve_file = root / "models.json"
        text = serve_file.read_text()
        serve_file.write_text('{"models": []}')
        looked.clear()
        until(lambda: len(looked) > 5)
        assert served(server) == ("salsa", "waltz")
        serve_file.write_text(text)
    writer.join()
    until(lambda: served(server) == ("salsa", "waltz", "tango"))


def test_a_broken_export_is_left_out_and_the_others_go_on(
    server: TritonServer, root: Path, looked: list[None], caplog: pytest.LogCaptureFixture
) -> None:
    async def test(sampler: Sampler) -> None:
        await danced(sampler, "salsa")
        truncate(root, SALSA)
        await asyncio.to_thread(until, lambda: served(server) == ("waltz",))
        np.testing.assert_allclose(await danced(sampler), await asyncio.to_thread(here, root, "waltz"), atol=1e-5)
        with pytest.raises(InvalidInput, match="waltz"):
            await danced(sampler, "salsa")
        looked.clear()
        await asyncio.to_thread(until, lambda: len(looked) > 5)
        refusals = [r for r in caplog.records if r.levelno == logging.ERROR and "salsa is not served" in r.message]
        assert len(refusals) == 1  # it is told once
        await asyncio.to_thread(export, root, SALSA)
        await asyncio.to_thread(until, lambda: set(served(server)) == {"salsa", "waltz"})
        np.testing.assert_allclose(
            await danced(sampler, "salsa"), await asyncio.to_thread(here, root, "salsa"), atol=1e-5
        )

    sampling(server, test)
    assert ready(server) == keys(SALSA, WALTZ)


def test_a_broken_export_is_left_out_at_the_start(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    truncate(root, SALSA)
    with TritonServer(root, QUICK) as server:
        assert served(server) == ("waltz",)
        assert "the model salsa is not served" in caplog.text

        async def test(sampler: Sampler) -> None:
            assert list(await sampler.models()) == ["waltz"]
            await danced(sampler)
            await asyncio.to_thread(export, root, SALSA)
            await asyncio.to_thread(until, lambda: set(served(server)) == {"salsa", "waltz"})
            await danced(sampler, "salsa")

        sampling(server, test)
        assert server.restarts == 0
        assert ready(server) == keys(SALSA, WALTZ)


def test_a_configuration_that_cannot_be_read_changes_nothing(
    server: TritonServer, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = root / SALSA.key("denoiser") / CONFIG
    text = config.read_text()
    config.write_text("{")
    until(lambda: "cannot be read" in caplog.text or served(server) != ("salsa", "waltz"))
    assert served(server) == ("salsa", "waltz")

    async def test(sampler: Sampler) -> None:
        await danced(sampler, "salsa")
        await danced(sampler, "waltz")

    sampling(server, test)
    config.write_text(text)
    export(root, TANGO)
    until(lambda: "tango" in served(server))


def test_a_killed_server_comes_back_with_all_of_them(root: Path) -> None:
    with TritonServer(root, QUICK) as server:
        export(root, TANGO)
        until(lambda: "tango" in served(server))

        async def test(sampler: Sampler) -> None:
            expected = {name: await danced(sampler, name) for name in ("salsa", "waltz", "tango")}
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.to_thread(until, lambda: server.restarts == 1 and server.healthy())
            assert ready(server) == keys(SALSA, WALTZ, TANGO)
            for name, result in expected.items():
                np.testing.assert_allclose(await danced(sampler, name), result, atol=1e-5)

        sampling(server, test)


def test_a_server_that_dies_when_everything_was_removed_waits_for_an_export(root: Path) -> None:
    with TritonServer(root, QUICK.model_copy(update={"max_delay_s": 0.2})) as server:
        for name in ("salsa", "waltz"):
            remove_generator(root, name)
        until(lambda: served(server) == ())
        until(lambda: ready(server) == set())

        async def test(sampler: Sampler) -> None:
            for model in (None, "salsa"):
                with pytest.raises(ModelUnavailable, match="no model"):
                    await danced(sampler, model)

        sampling(server, test)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: server.pid is None)
        export(root, TANGO)
        until(lambda: server.restarts == 1 and server.healthy())
        assert served(server) == ("tango",)


def test_the_default_one_is_first_wherever_it_was_loaded(server: TritonServer, root: Path) -> None:
    serve_only(root, ["waltz", "salsa"])
    until(lambda: served(server) == ("waltz", "salsa"))
