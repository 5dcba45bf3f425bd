"""Triton Python backend model: one session, and one call of it for all requests of a batch.

The repository writer copies this file to `<model>/1/model.py`, next to `model.onnx` and the files of a compiled engine
if there is one. It runs inside Triton's stub process and imports nothing from this program.
"""

import importlib.util
import json
import os
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Evaluates the rows of several requests in one call; an invalid request fails alone."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph. An exception here makes the server refuse the model."""
        config = json.loads(args["model_config"])
        self._shapes = {i["name"]: tuple(int(d) for d in i["dims"]) for i in config["input"]}
        self._outputs = [o["name"] for o in config["output"]]
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        instances = sum(group["count"] for group in config["instance_group"])
        folder = os.path.join(args["model_repository"], args["model_version"])
        self._session = open_session(folder, parameters, instances)

    def execute(self, requests: list) -> list:
        """Answer every request, in order."""
        responses: list = [None] * len(requests)
        batch: list[tuple[int, dict[str, np.ndarray]]] = []
        for index, request in enumerate(requests):
            if request.is_cancelled():
                responses[index] = _failure("the request was cancelled", pb_utils.TritonError.CANCELLED)
                continue
            try:
                batch.append((index, self._read(request)))
            except ValueError as error:
                responses[index] = _failure(str(error), pb_utils.TritonError.INVALID_ARG)
        if batch:
            self._answer(batch, responses)
        return responses

    def finalize(self) -> None:
        """Release the session's memory and threads."""
        self._session = None

    def _read(self, request: Any) -> dict[str, np.ndarray]:
        """Inputs of one request by name, checked against the configuration.

        Raises:
            ValueError: an input is missing or does not have the configured shape, or the row counts differ.
        """
        tensors = {}
        rows = None
        for name, shape in self._shapes.items():
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is None:
                raise ValueError(f"input {name!r} is missing")
            values = tensor.as_numpy()
            if values.ndim != 1 + len(shape) or values.shape[1:] != shape:
                raise ValueError(f"input {name!r} has shape {values.shape}, expected (rows, *{shape})")
            rows = len(values) if rows is None else rows
            if len(values) != rows or rows == 0:
                raise ValueError(f"input {name!r} has {len(values)} rows, expected {rows or 'at least one'}")
            tensors[name] = values
        return tensors

    def _answer(self, batch: list, responses: list) -> None:
        """Evaluate the requests of a batch together and set their responses."""
        tensors = [inputs for _, inputs in batch]
        try:
            joined = tensors[0]
            if len(tensors) > 1:
                joined = {name: np.concatenate([t[name] for t in tensors]) for name in self._shapes}
            outputs = dict(zip(self._outputs, self._session.run(self._outputs, joined), strict=True))
        except Exception as error:  # of any kind: clients must not see paths of this machine
            pb_utils.Logger.log_error(f"inference failed: {type(error).__name__}: {error}")
            for index, _ in batch:
                responses[index] = _failure("inference failed", pb_utils.TritonError.INTERNAL)
            return
        start = 0
        for index, inputs in batch:
            stop = start + len(inputs[next(iter(self._shapes))])
            rows = [pb_utils.Tensor(name, outputs[name][start:stop]) for name in self._outputs]
            responses[index] = pb_utils.InferenceResponse(output_tensors=rows)
            start = stop


def open_session(folder: str, parameters: dict[str, str], instances: int) -> Any:
    """The compiled engine if it is wanted and can be loaded, otherwise ONNX Runtime; both have the same `run`."""
    loader, runtime = os.path.join(folder, "native_loader.py"), parameters["runtime"]
    if runtime == "native" or (runtime == "auto" and os.path.isfile(loader)):
        try:
            return _imported(loader).NativeSession(folder, threads(parameters, instances))
        except Exception as error:  # of any kind: ONNX Runtime can evaluate the graph instead
            pb_utils.Logger.log_warn(f"ONNX Runtime is used, because the compiled engine cannot be: {error}")
    graph, options = os.path.join(folder, "model.onnx"), session_options(parameters, instances)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _imported(path: str) -> Any:
    source = importlib.util.spec_from_file_location("native_loader", path)
    assert source is not None
    assert source.loader is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    return module


def threads(parameters: dict[str, str], instances: int) -> int:
    """Threads of each of several instances."""
    return int(parameters["intra_op_threads"]) or max(1, len(os.sched_getaffinity(0)) // instances)


def session_options(parameters: dict[str, str], instances: int) -> Any:
    """The same as `export.engine_options.EngineOptions.session_options`."""
    options = onnxruntime.SessionOptions()
    # ONNX Runtime's own default pins its threads, and counts the machine's cores, not those it may use.
    options.intra_op_num_threads = threads(parameters, instances)
    # Idle threads that spin take the cores from whatever else runs on the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _failure(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
