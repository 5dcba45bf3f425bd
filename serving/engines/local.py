"""The engine in this process: the one compiled at export, or ONNX Runtime."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.errors import BackendUnavailable, DeadlineExceeded, MissingDependency
from choreo.generators.base import Tensors
from choreo.generators.spec import GeneratorSpec, GraphSpec
from export.engine_options import EngineOptions
from export.repository import read_configs, read_spec, served
from export.sessions import Session, is_native, open_session
from serving.engines.base import first_line, remaining
from serving.engines.tensors import checked_inputs, checked_outputs
from serving.errors import ModelUnavailable


@dataclass(frozen=True)
class _Graph:
    """A graph that is ready, and the calls of it that are computed at a time."""

    spec: GraphSpec
    session: Session
    instances: int


class LocalEngine:
    """The graphs of a model repository in this process.

    Args:
        repository: folder of the models.
        names: generators to load, the default one first; None: those that the repository serves.
        threads: threads of one evaluation; 0: as the repository says, else all cores this process may use.

    Raises:
        MissingDependency: there is no generator, or one of its graphs is not there.
        InvalidArtifact: a graph cannot be loaded.
    """

    def __init__(self, repository: Path, names: Sequence[str] | None = None, threads: int = 0) -> None:
        chosen = served(repository) if names is None else names
        if not chosen:
            raise MissingDependency(
                f"the model repository {repository} serves no generator; `choreo export` writes one"
            )
        self._specs = {name: read_spec(repository, name) for name in chosen}
        self._graphs = {
            spec.key(graph.name): _opened(repository, spec, graph, threads)
            for spec in self._specs.values()
            for graph in spec.graphs
        }
        self._rows = dict.fromkeys(self._graphs, 0)
        self._closed = False
        instances = max(graph.instances for graph in self._graphs.values())
        self._executor = ThreadPoolExecutor(instances, thread_name_prefix="local-engine")

    async def models(self) -> dict[str, GeneratorSpec]:
        """Contracts of the generators that were loaded."""
        return self._specs

    async def instances(self, graph: str) -> int:
        """Calls of a graph that are computed at a time."""
        return self._graph(graph).instances

    async def infer(
        self, graph: str, inputs: Mapping[str, NDArray[np.float32]], *, deadline: float | None = None
    ) -> Tensors:
        """Evaluate a graph in one call; errors as in `Engine.infer`."""
        import onnxruntime

        if self._closed:
            raise BackendUnavailable("the engine was closed")
        there = self._graph(graph)
        tensors, rows = checked_inputs(there.spec, inputs)
        seconds = remaining(deadline)
        options, loop = onnxruntime.RunOptions(), asyncio.get_running_loop()
        work = loop.run_in_executor(self._executor, _evaluated, there, tensors, options)
        try:
            async with asyncio.timeout(seconds):
                out = checked_outputs(there.spec, await work, rows)
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
            # A call that nothing waits for any more must not keep the next one waiting. The compiled engine does not
            # stop, but is soon done.
            options.terminate = True

    async def close(self) -> None:
        """End the threads and release the sessions."""
        self._closed = True
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
        self._graphs = {}

    async def statistics(self) -> dict[str, int]:
        """Rows inferred so far, by graph."""
        return dict(self._rows)

    def _graph(self, graph: str) -> _Graph:
        try:
            return self._graphs[graph]
        except KeyError:
            raise ModelUnavailable(f"{graph} is not loaded") from None


def _evaluated(graph: _Graph, inputs: Tensors, options: Any) -> Tensors:
    names = list(graph.spec.output_shapes)
    try:
        outputs = graph.session.run(names, inputs, options)
    except Exception as error:  # ONNX Runtime has a class for every status, with no base below Exception
        raise BackendUnavailable(f"the engine failed on the {graph.spec.name}: {first_line(error)}") from error
    return dict(zip(names, outputs, strict=True))


def _opened(repository: Path, spec: GeneratorSpec, graph: GraphSpec, threads: int) -> _Graph:
    """A graph with the options of its configuration."""
    key = spec.key(graph.name)
    path = repository / key / "1" / "model.onnx"
    if not path.is_file():
        raise MissingDependency(f"no ONNX graph {key} in {repository}; `choreo export` writes it")
    given = dict(read_configs(repository)[key].parameters)
    if threads:
        given |= {"intra_op_threads": str(threads), "instances": "1"}
    options = EngineOptions.from_parameters(given)
    # A call of the compiled engine is shared out over all cores, and small graphs are done before a second one comes.
    if not graph.per_step or is_native(path, options):
        options = options.model_copy(update={"instances": 1})
    return _Graph(graph, open_session(path, options), options.instance_count())
