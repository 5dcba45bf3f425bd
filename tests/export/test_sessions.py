"""Which engine evaluates a graph. The ONNX graph next to the compiled engine computes something else, to tell which of
both was used."""

import asyncio
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from native_engine import build_denoiser, needs_compiler, small_denoiser, some_inputs, torch_rows
from tiny_generator import write_graphs

from choreo.errors import InvalidArtifact
from export.engine_options import EngineOptions, Runtime
from export.model_config import Profile, RepositorySettings
from export.native.loader import MANIFEST
from export.repository import write_config, write_generator
from export.sessions import open_session
from export.triton_config import TritonModelConfig
from serving.engines.local import LocalEngine

SPEC = small_denoiser()[1]
KEY = SPEC.key("denoiser")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    package = build_denoiser(*small_denoiser(), folder / "native")
    root = folder / "model_repo"
    written = write_generator(
        root, SPEC, write_graphs(folder / "graphs", SPEC), extra_files={"denoiser": package.files}
    )
    assert {root / KEY / "1" / file.name for file in package.files} <= set(written)
    return root


def evaluated(root: Path, options: EngineOptions) -> str:
    inputs = some_inputs(SPEC, 5, x=np.abs)
    (out,) = open_session(root / KEY / "1" / "model.onnx", options).run(["x0"], inputs)
    return which(inputs, out)


def which(inputs: dict[str, np.ndarray], out: np.ndarray) -> str:
    if np.allclose(out, np.sqrt(inputs["x"]) / 2, atol=1e-5):
        return "onnxruntime"
    np.testing.assert_allclose(out, torch_rows(small_denoiser()[0], inputs), atol=1e-4)
    return "native"


@needs_compiler
class TestChoice:
    @pytest.mark.parametrize(
        ("runtime", "engine"), [("auto", "native"), ("native", "native"), ("onnxruntime", "onnxruntime")]
    )
    def test_options_choose(self, root: Path, runtime: Runtime, engine: str) -> None:
        assert evaluated(root, EngineOptions(runtime=runtime)) == engine
        assert evaluated(root, EngineOptions(runtime=runtime, intra_op_threads=2)) == engine

    @pytest.mark.parametrize("runtime", ["auto", "native"])
    def test_an_engine_for_another_processor(
        self, root: Path, runtime: Runtime, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manifest = root / KEY / "1" / MANIFEST
        before = manifest.read_text()
        manifest.write_text(json.dumps(json.loads(before) | {"cpu_flags": ["avx4096"]}))
        try:
            with caplog.at_level(logging.WARNING):
                assert evaluated(root, EngineOptions(runtime=runtime)) == "onnxruntime"
        finally:
            manifest.write_text(before)
        assert "avx4096" in caplog.text

    def test_the_engine_in_this_process(self, root: Path) -> None:
        inputs = some_inputs(SPEC, 7, x=np.abs)

        async def infer() -> np.ndarray:
            engine = LocalEngine(root)
            try:
                return (await engine.infer(KEY, inputs))["x0"]
            finally:
                await engine.close()

        assert which(inputs, asyncio.run(infer())) == "native"
        other = RepositorySettings(engine=EngineOptions(runtime="onnxruntime"))
        write_config(root, SPEC, SPEC.graph("denoiser"), Profile.CPU, other)
        assert which(inputs, asyncio.run(infer())) == "onnxruntime"


@needs_compiler
@pytest.mark.e2e
def test_the_python_backend_serves_the_compiled_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a server that is given the repository as it was exported."""
    from serving.engines.triton import TritonEngine
    from serving.triton.launch import TritonSettings
    from serving.triton.supervisor import TritonServer

    package, root = build_denoiser(*small_denoiser(), tmp_path / "native"), tmp_path / "model_repo"
    write_generator(root, SPEC, write_graphs(tmp_path / "graphs", SPEC), extra_files={"denoiser": package.files})
    inputs = some_inputs(SPEC, 5, x=np.abs)

    async def remote(url: str) -> np.ndarray:
        engine = TritonEngine([url])
        try:
            return (await engine.infer(KEY, inputs))["x0"]
        finally:
            await engine.close()

    def link_as_exported(repository: Path, config: TritonModelConfig, folder: Path) -> None:
        (folder / config.name).symlink_to(repository / config.name, target_is_directory=True)

    monkeypatch.setattr("serving.triton.served_models.link_model", link_as_exported)
    with TritonServer(root, TritonSettings(canary_period_s=3600, shared_memory_mib=2)) as server:
        assert which(inputs, asyncio.run(remote(server.grpc_url))) == "native"


def test_without_a_compiled_engine(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "model_repo"
    write_generator(root, SPEC, write_graphs(tmp_path / "graphs", SPEC))
    with caplog.at_level(logging.WARNING):
        assert evaluated(root, EngineOptions()) == "onnxruntime"
        assert not caplog.records
        assert evaluated(root, EngineOptions(runtime="native")) == "onnxruntime"
    assert "compiled engine" in caplog.text


def test_a_file_that_is_not_a_graph(tmp_path: Path) -> None:
    (tmp_path / "denoiser.onnx").write_bytes(b"broken")
    with pytest.raises(InvalidArtifact, match=r"denoiser\.onnx"):
        open_session(tmp_path / "denoiser.onnx", EngineOptions())
