"""Opens a graph for evaluation: with the compiled engine next to it if it can be used, otherwise with ONNX Runtime."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact
from export.engine_options import EngineOptions
from export.native.loader import NativeSession, NativeUnavailable, exists

_logger = logging.getLogger(__name__)


class Session(Protocol):
    """A graph that is ready to be evaluated."""

    def run(
        self, names: Sequence[str] | None, inputs: Mapping[str, NDArray[np.float32]], options: Any = None
    ) -> list[NDArray[np.float32]]:
        """Evaluate the graph.

        Args:
            names: the outputs to return, in this order; None for all.
            inputs: arrays (rows, *shape) by name.
            options: `onnxruntime.RunOptions`, which the compiled engine ignores.
        """
        ...


def open_session(graph: Path, options: EngineOptions) -> Session:
    """Open a graph with the engine that the options ask for.

    The compiled engine divides the rows of one call over the threads of all instances (`EngineOptions.workers`); a
    session of ONNX Runtime is one instance. If the compiled engine cannot be used, a warning says why.

    Args:
        graph: the ONNX file, with the compiled engine in the same folder if there is one.
        options: of the graph's model.

    Raises:
        InvalidArtifact: the ONNX graph cannot be loaded.
    """
    if is_native(graph, options):
        try:
            return NativeSession(graph.parent, options.workers())
        except NativeUnavailable as error:
            _logger.warning("%s is evaluated by ONNX Runtime, because %s", graph.name, error)
    import onnxruntime

    try:
        session: Session = onnxruntime.InferenceSession(
            str(graph), options.session_options(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime has a class for every status, with no base below Exception
        first = str(error).partition("\n")[0]
        raise InvalidArtifact(f"{graph.name} cannot be loaded: {first}") from error
    return session


def is_native(graph: Path, options: EngineOptions) -> bool:
    """Whether the options ask for the compiled engine; with "native" even if there is none next to the graph."""
    return options.runtime != "onnxruntime" and (options.runtime == "native" or exists(graph.parent))
