"""The engine in this process: the one compiled at export, or ONNX Runtime."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.errors import BackendUnavailable, DeadlineExceeded, MissingDependency
from choreo.generators.spec import ModelSpec
from export.engine_options import EngineOptions
from export.repository import GRAPHS, GraphName, graph_outputs, read_configs, read_spec
from export.sessions import Session, open_session
from serving.engines.base import PAIR, first_line, remaining
from serving.engines.tensors import Tensors, checked_inputs, checked_outputs, part, parts_of


class OnnxEngine:
    """The graphs in this process, in threads of their own: one per instance."""

    def __init__(self, folder: Path, spec: ModelSpec | None = None, threads: int = 0, max_rows: int = 0) -> None:
        """Load both graphs.

        Args:
            folder: a model repository, or a folder with `conditioner.onnx` and `denoiser.onnx`.
            spec: their contract; None reads it from the repository.
            threads: threads of one evaluation; 0: as the repository says, else all cores this process may use.
            max_rows: rows of one evaluation, more are done one part after the other; 0: as the repository says.

        Raises:
            MissingDependency: the graphs are not there.
            InvalidArtifact: a graph cannot be loaded.
        """
        self._spec = read_spec(folder) if spec is None else spec
        options = {graph: _options(folder, graph, threads) for graph in GRAPHS}
        self._max_rows = max_rows or options["denoiser"].batch_rows
        self._instances = {graph: options[graph].instance_count() for graph in GRAPHS}
        self._sessions = {graph: _session(folder, graph, options[graph]) for graph in GRAPHS}
        self._rows = dict.fromkeys(GRAPHS, 0)
        self._closed = False
        self._executor = ThreadPoolExecutor(max(self._instances.values()), thread_name_prefix="onnx-engine")

    async def specs(self) -> dict[str, ModelSpec]:
        """See `Engine`."""
        return {self._spec.name: self._spec}

    async def instances(self) -> int:
        """See `Engine`."""
        return self._instances["denoiser"]

    async def infer(
        self,
        graph: GraphName,
        inputs: Mapping[str, NDArray[np.float32]],
        *,
        deadline: float | None = None,
        whole: bool = False,
    ) -> Tensors:
        """See `Engine`."""
        import onnxruntime

        if self._closed:
            raise BackendUnavailable("the engine was closed")
        tensors, rows = checked_inputs(self._spec, graph, inputs)
        seconds = remaining(deadline)
        options, loop = onnxruntime.RunOptions(), asyncio.get_running_loop()
        instances = 1 if whole and rows != PAIR else self._instances[graph]
        parts = [part(tensors, some) for some in parts_of(rows, self._max_rows, instances)]
        work = [loop.run_in_executor(self._executor, self._run, graph, inputs, options) for inputs in parts]
        try:
            async with asyncio.timeout(seconds):
                out = checked_outputs(self._spec, graph, await asyncio.gather(*work), rows)
            self._rows[graph] += rows
            return out
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed during inference") from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise BackendUnavailable("the engine was closed") from None
            raise
        finally:
            # Nobody waits for it any more if it still runs; the next call should not wait for it either. The compiled
            # engine does not stop, but is soon done.
            options.terminate = True

    async def close(self) -> None:
        """See `Engine`."""
        self._closed = True
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
        self._sessions = {}

    async def statistics(self) -> dict[str, int]:
        """See `Engine`."""
        return {str(graph): rows for graph, rows in self._rows.items()}

    def _run(self, graph: GraphName, inputs: Tensors, options: Any) -> Tensors:
        names = list(graph_outputs(self._spec, graph))
        try:
            outputs = self._sessions[graph].run(names, inputs, options)
        except Exception as error:  # ONNX Runtime has a class for every status, with no base below Exception
            raise BackendUnavailable(f"the engine failed on the {graph}: {first_line(error)}") from error
        return dict(zip(names, outputs, strict=True))


def _options(folder: Path, graph: GraphName, threads: int) -> EngineOptions:
    """Those of a repository's configuration; a folder of bare graphs has the defaults."""
    given = read_configs(folder)[graph].parameters if (folder / graph).is_dir() else {}
    if threads:
        given |= {"intra_op_threads": str(threads), "instances": "1"}
    return EngineOptions.from_parameters(given if graph == "denoiser" else given | {"instances": "1"})


def _session(folder: Path, graph: GraphName, options: EngineOptions) -> Session:
    candidates = (folder / graph / "1" / "model.onnx", folder / f"{graph}.onnx")
    path = next((p for p in candidates if p.is_file()), None)
    if path is None:
        raise MissingDependency(f"no ONNX graph of the {graph} in {folder}; `choreo export` writes it")
    return open_session(path, options)
