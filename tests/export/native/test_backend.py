"""The compiled engine as a backend of a real tritonserver. The ONNX graph next to it computes something else, to tell
which of both was used."""

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from native_engine import Inputs, build_denoiser, needs_compiler, small_denoiser, some_inputs, torch_rows
from tiny_generator import write_graphs
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from choreo.errors import BackendUnavailable, NonFiniteOutput
from export.engine_options import EngineOptions
from export.model_config import Profile, RepositorySettings
from export.native.backend import BACKEND, LAYOUT, LIBRARY, link_model
from export.native.loader import MANIFEST
from export.repository import read_configs, write_config, write_generator
from serving.engines.triton import TritonEngine
from serving.sampling.transports import SharedMemoryTransport, transport_for
from serving.triton.launch import TritonSettings
from serving.triton.supervisor import TritonServer

pytestmark = needs_compiler
DENOISER, SPEC = small_denoiser()
CONDITIONER_KEY, KEY = SPEC.key("conditioner"), SPEC.key("denoiser")
WORKERS = 3
SETTINGS = TritonSettings(poll_s=0.05, canary_period_s=3600, shared_memory_mib=2)


def repository(folder: Path) -> Path:
    package, root = build_denoiser(DENOISER, SPEC, folder / "native"), folder / "model_repo"
    graphs = write_graphs(folder / "graphs", SPEC)
    # More workers than some requests have rows, and not a divisor of the others.
    settings = RepositorySettings(engine=EngineOptions(instances=1, intra_op_threads=WORKERS))
    write_generator(root, SPEC, graphs, settings=settings, extra_files={"denoiser": package.files})
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return repository(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with TritonServer(repository(tmp_path_factory.mktemp("backend")), SETTINGS) as server:
        yield server


def linked_models(root: Path, folder: Path) -> Path:
    folder.mkdir()
    for config in read_configs(root).values():
        link_model(root, config, folder)
    return folder


def through(server: TritonServer, use: Callable[[TritonEngine], Awaitable[None]]) -> None:
    async def main() -> None:
        engine = TritonEngine([server.grpc_url], rounds=1)
        try:
            await use(engine)
        finally:
            await engine.close()

    asyncio.run(main())


def assert_correct(inputs: Inputs, out: np.ndarray) -> None:
    np.testing.assert_allclose(out, torch_rows(DENOISER, inputs), atol=1e-4)


class TestRepository:
    def test_the_served_repository_links_to_the_exported_one(self, root: Path, tmp_path: Path) -> None:
        configs = read_configs(root)
        served = linked_models(root, tmp_path / "served")
        linked = read_configs(served)
        assert linked[CONDITIONER_KEY] == configs[CONDITIONER_KEY]
        assert (served / CONDITIONER_KEY).readlink() == root / CONDITIONER_KEY
        assert (configs[KEY].backend, linked[KEY].backend) == ("python", BACKEND)
        unchanged = {"inputs", "outputs", "parameters", "max_batch_size", "warmup", "dynamic_batching"}
        assert linked[KEY].model_dump(include=unchanged) == configs[KEY].model_dump(include=unchanged)
        assert (served / KEY / "1" / LIBRARY).resolve().parent == root / KEY / "1"
        lines = (served / KEY / "1" / LAYOUT).read_text().splitlines()
        tensors = SPEC.graph("denoiser").input_shapes | SPEC.graph("denoiser").output_shapes
        assert f"program {root / KEY / '1' / 'native.bin'}" in lines
        assert f"workers {WORKERS}" in lines
        assert [line.split()[1:] for line in lines if line.split()[0] in ("input", "output")] == [
            [name, *map(str, shape)] for name, shape in tensors.items()
        ]

    @pytest.mark.parametrize("why", ["options", "another processor", "cut short", "none"])
    def test_without_a_usable_engine_the_model_is_served_as_it_is(
        self, root: Path, tmp_path: Path, why: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        version = root / KEY / "1"
        if why == "options":
            other = RepositorySettings(engine=EngineOptions(runtime="onnxruntime", instances=1))
            write_config(root, SPEC, SPEC.graph("denoiser"), Profile.CPU, other)
        elif why == "another processor":
            manifest = json.loads((version / MANIFEST).read_text())
            (version / MANIFEST).write_text(json.dumps(manifest | {"cpu_flags": ["avx4096"]}))
        elif why == "cut short":
            (library,) = version.glob("*.so")
            library.write_bytes(library.read_bytes()[:-1])
        else:
            (version / MANIFEST).unlink()
        with caplog.at_level(logging.WARNING):
            served = linked_models(root, tmp_path / "served")
        assert {path.name: path.readlink() for path in served.iterdir()} == {
            key: root / key for key in (CONDITIONER_KEY, KEY)
        }
        assert bool(caplog.records) == (why in ("another processor", "cut short"))

    @pytest.mark.parametrize(("cores", "instances"), [(1, 1), (2, 2), (64, 8)])
    def test_the_number_of_instances_is_that_of_the_serving_machine(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, instances: int
    ) -> None:
        options = RepositorySettings(engine=EngineOptions(runtime="onnxruntime"))
        write_config(root, SPEC, SPEC.graph("denoiser"), Profile.CPU, options)
        written = read_configs(root)[KEY]
        monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)))
        served = linked_models(root, tmp_path / "served")
        found = read_configs(served)[KEY]
        assert found.instance_groups[0].count == instances
        assert found.model_copy(update={"instance_groups": written.instance_groups}) == written
        assert (served / KEY / "1" / "model.py").read_bytes() == (root / KEY / "1" / "model.py").read_bytes()


@pytest.mark.e2e
class TestServer:
    @pytest.mark.parametrize("rows", [1, 2, 5, 7, 13, 32])
    def test_rows_agree_with_torch(self, server: TritonServer, rows: int) -> None:
        inputs = some_inputs(SPEC, rows, seed=rows)

        async def use(engine: TritonEngine) -> None:
            assert await engine.instances(KEY) == 1
            assert_correct(inputs, (await engine.infer(KEY, inputs))["x0"])

        through(server, use)

    def test_requests_that_share_batches_get_their_own_rows(self, server: TritonServer) -> None:
        requests = [some_inputs(SPEC, 1 + seed % 4, seed) for seed in range(40)]

        def executions() -> int:
            with InferenceServerClient(server.grpc_url) as client:
                return int(client.get_inference_statistics(KEY).model_stats[0].execution_count)

        async def joined(engine: TritonEngine) -> bool:
            before = executions()
            outs = await asyncio.gather(*(engine.infer(KEY, inputs) for inputs in requests))
            for inputs, out in zip(requests, outs, strict=True):
                assert_correct(inputs, out["x0"])
            return executions() - before < len(requests)

        async def use(engine: TritonEngine) -> None:
            # A fast server may answer every request before the next one arrives.
            for _ in range(50):
                if await joined(engine):
                    return
            pytest.fail("no two requests ever shared a batch")

        through(server, use)

    def test_step_batches_in_shared_memory(self, server: TritonServer) -> None:
        async def use(engine: TritonEngine) -> None:
            transport = transport_for(engine)(KEY, SPEC.graph("denoiser"))
            assert isinstance(transport, SharedMemoryTransport)
            buffers = [(transport.inputs(16), some_inputs(SPEC, 9, seed)) for seed in range(3)]
            for buffer, inputs in buffers:
                for name, values in inputs.items():
                    buffer[name][:9] = values
            outs = await asyncio.gather(*(transport.evaluate(buffer, 9, None) for buffer, _ in buffers))
            for (_, inputs), out in zip(buffers, outs, strict=True):
                assert_correct(inputs, out["x0"])
            assert transport._works
            await transport.close()

        through(server, use)

    def test_nan_stays_in_its_row(self, server: TritonServer) -> None:
        inputs = some_inputs(SPEC, 4)
        inputs["x"][2] = np.nan

        async def use(engine: TritonEngine) -> None:
            with pytest.raises(NonFiniteOutput):
                await engine.infer(KEY, inputs)
            good = {name: values[[0, 1, 3]] for name, values in inputs.items()}
            assert_correct(good, (await engine.infer(KEY, good))["x0"])

        through(server, use)

    @pytest.mark.parametrize("wrong", ["missing", "rows", "shape", "type", "too many"])
    def test_requests_of_the_wrong_shape_are_refused(self, server: TritonServer, wrong: str) -> None:
        from tritonclient.grpc import InferInput

        rows = SPEC.graph("denoiser").max_rows + 1 if wrong == "too many" else 2
        arrays = {name: values.astype("<f4") for name, values in some_inputs(SPEC, rows).items()}
        if wrong == "missing":
            del arrays["prior"]
        elif wrong == "rows":
            arrays["prior"] = arrays["prior"][:1]
        elif wrong == "shape":
            arrays["prior"] = arrays["prior"][:, :-1]
        elif wrong == "type":
            arrays["prior"] = arrays["prior"].astype(np.float64)
        inputs = []
        for name, values in arrays.items():
            inputs.append(InferInput(name, values.shape, "FP64" if values.dtype == np.float64 else "FP32"))
            inputs[-1].set_data_from_numpy(np.ascontiguousarray(values))
        client = InferenceServerClient(server.grpc_url)
        with pytest.raises(InferenceServerException) as caught:
            client.infer(KEY, inputs)
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
        client.close()
        assert server.healthy()

    def test_a_server_that_is_stopped_has_ended(self, tmp_path: Path) -> None:
        with TritonServer(repository(tmp_path), SETTINGS) as server:
            assert server.healthy()
        assert server.pid is None

    def test_a_restarted_server_serves_the_current_repository(self, root: Path) -> None:
        inputs = some_inputs(SPEC, 3, x=np.abs)

        async def infer() -> np.ndarray:
            engine = TritonEngine([server.grpc_url])
            try:
                return (await engine.infer(KEY, inputs))["x0"]
            finally:
                await engine.close()

        with TritonServer(root, SETTINGS) as server:
            assert_correct(inputs, asyncio.run(infer()))
            # As after an export without a compiler: the links of the first start are broken.
            for file in (root / KEY / "1").glob("native*"):
                file.unlink()
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            until = time.monotonic() + 60
            while not (server.restarts and server.healthy()):
                assert time.monotonic() < until, "it did not come back"
                time.sleep(0.05)
            np.testing.assert_allclose(asyncio.run(infer()), np.sqrt(inputs["x"]) / 2, atol=1e-5)

    def test_a_layout_that_disagrees_with_the_program(self, root: Path) -> None:
        manifest = root / KEY / "1" / MANIFEST
        document = json.loads(manifest.read_text())
        first, *others = document["inputs"]
        larger = [first[0], [first[1][0] + 1, *first[1][1:]]]
        for inputs, message in ((others, "another number of inputs"), ([larger, *others], "another size")):
            manifest.write_text(json.dumps(document | {"inputs": inputs}))
            with pytest.raises(BackendUnavailable, match=message):
                TritonServer(root, SETTINGS).start()
