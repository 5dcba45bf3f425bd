"""The Python backend model outside of Triton: a fake `triton_python_backend_utils` has the few classes it uses."""

import importlib.util
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format, text_format
from native_engine import build_denoiser, needs_compiler, small_denoiser, some_inputs, torch_rows
from numpy.typing import NDArray
from tiny_generator import tiny_inputs, tiny_repository, tiny_spec, write_graphs
from tritonclient.grpc import model_config_pb2

from export.engine_options import EngineOptions
from export.model_config import Profile, RepositorySettings
from export.repository import write_config, write_generator

KEY = tiny_spec().key("denoiser")


@dataclass
class Tensor:
    name: str
    values: NDArray

    def as_numpy(self) -> NDArray:
        return self.values


class Error(Exception):
    CANCELLED, INVALID_ARG, INTERNAL = range(3)

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Response:
    output_tensors: list[Tensor] = field(default_factory=list)
    error: Error | None = None


@dataclass
class Request:
    inputs: dict[str, NDArray]
    cancelled: bool = False

    def is_cancelled(self) -> bool:
        return self.cancelled


def fake_backend_utils() -> ModuleType:
    module = ModuleType("triton_python_backend_utils")
    log: list[str] = []

    class Logger:
        log_error = log_warn = staticmethod(log.append)

    def get_input_tensor_by_name(request: Request, name: str) -> Tensor | None:
        return Tensor(name, request.inputs[name]) if name in request.inputs else None

    vars(module).update(
        Tensor=Tensor,
        TritonError=Error,
        InferenceResponse=Response,
        Logger=Logger,
        get_input_tensor_by_name=get_input_tensor_by_name,
        log=log,
    )
    return module


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return served(tiny_repository(tmp_path / "model_repo") / KEY, monkeypatch)


def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", fake_backend_utils())
    source = importlib.util.spec_from_file_location("served_model", folder / "1" / "model.py")
    assert source is not None
    assert source.loader is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    message = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    config = json.dumps(json_format.MessageToDict(message, preserving_proto_field_name=True))
    model = module.TritonPythonModel()
    model.initialize({"model_config": config, "model_repository": str(folder), "model_version": "1"})
    return model


def request(rows: int, seed: int = 0, **changes: NDArray) -> Request:
    return Request(tiny_inputs(tiny_spec(), "denoiser", rows, seed) | changes)


def output(response: Response) -> NDArray:
    assert response.error is None
    (tensor,) = response.output_tensors
    assert tensor.name == "x0"
    return tensor.values


@pytest.mark.parametrize("rows", [(2,), (1, 3, 2)])
def test_all_rows_are_evaluated_in_one_call(model: Any, rows: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    session, seen = model._session, []

    class Counting:
        def run(self, names: Any, inputs: dict[str, NDArray]) -> Any:
            seen.append(len(inputs["x"]))
            return session.run(names, inputs)

    monkeypatch.setattr(model, "_session", Counting())
    requests = [request(count, seed=count) for count in rows]
    responses = model.execute(requests)
    assert seen == [sum(rows)]
    for one, response in zip(requests, responses, strict=True):
        np.testing.assert_allclose(output(response), np.sqrt(one.inputs["x"]) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    "broken",
    [
        request(2, x=np.zeros((2, 8, 5), np.float32)),
        request(2, x=np.zeros((8, 4), np.float32)),
        request(2, t=np.zeros((3, 1), np.float32)),
        Request({}),
        Request({name: values[:0] for name, values in request(1).inputs.items()}),
    ],
)
def test_a_bad_request_fails_alone(model: Any, broken: Request) -> None:
    good = request(2)
    first, bad, last = model.execute([good, broken, good])
    assert bad.error.code == Error.INVALID_ARG
    assert np.array_equal(output(first), output(last))


def test_cancelled_requests_are_not_computed(model: Any) -> None:
    cancelled = request(1)
    cancelled.cancelled = True
    first, second = model.execute([cancelled, request(1)])
    assert first.error.code == Error.CANCELLED
    assert output(second).shape == (1, 8, 4)
    assert [r.error.code for r in model.execute([cancelled])] == [Error.CANCELLED]


def test_the_error_of_a_failed_session_is_not_sent_to_clients(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def run(self, *_: Any) -> Any:
            raise RuntimeError("cannot read /srv/secret/model.onnx")

    monkeypatch.setattr(model, "_session", Failing())
    responses = model.execute([request(1), request(2)])
    assert [(r.error.code, str(r.error)) for r in responses] == [(Error.INTERNAL, "inference failed")] * 2
    assert "secret" in sys.modules["triton_python_backend_utils"].log[0]


@needs_compiler
@pytest.mark.parametrize("runtime", ["auto", "native", "onnxruntime", "another processor"])
def test_the_compiled_engine_next_to_the_graph(tmp_path: Path, runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser, spec = small_denoiser()
    graphs, root = write_graphs(tmp_path / "graphs", spec), tmp_path / "model_repo"
    settings = RepositorySettings(engine=EngineOptions(runtime="auto" if " " in runtime else runtime))
    engine = build_denoiser(denoiser, spec, tmp_path / "native").files
    write_generator(root, spec, graphs, settings=settings, extra_files={"denoiser": engine})
    if runtime == "another processor":
        manifest = root / spec.key("denoiser") / "1" / "native.json"
        manifest.write_text(manifest.read_text().replace('"avx', '"not-avx').replace('"asimd', '"not-asimd'))
    model = served(root / spec.key("denoiser"), monkeypatch)
    inputs = [some_inputs(spec, rows, x=np.abs) for rows in (2, 3)]
    compiled = runtime in ("auto", "native")
    for given, response in zip(inputs, model.execute([Request(each) for each in inputs]), strict=True):
        expected = torch_rows(denoiser, given) if compiled else np.sqrt(given["x"]) / 2
        np.testing.assert_allclose(output(response), expected, atol=1e-4)
    log = sys.modules["triton_python_backend_utils"].log
    assert ["another processor" in line for line in log] == ([True] if runtime == "another processor" else [])
    model.finalize()


def test_a_compiled_engine_that_is_wanted_and_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tiny_repository(tmp_path / "model_repo")
    settings = RepositorySettings(engine=EngineOptions(runtime="native"))
    write_config(root, tiny_spec(), tiny_spec().graph("denoiser"), Profile.CPU, settings)
    model = served(root / KEY, monkeypatch)
    assert output(model.execute([request(1)])[0]).shape == (1, 8, 4)
    assert "ONNX Runtime is used" in sys.modules["triton_python_backend_utils"].log[0]


def test_finalize_releases_the_session(model: Any) -> None:
    model.finalize()
    assert model._session is None
