"""Opens a graph for evaluation: the compiled engine beside it where there is one that fits, else ONNX Runtime."""

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
        """Outputs in the order of `names` (None: all), for inputs by name; `options` are ONNX Runtime's."""
        ...


def open_session(graph: Path, options: EngineOptions) -> Session:
    """The engine that the options ask for; ONNX Runtime where the compiled one cannot be used, with a warning.

    Raises:
        InvalidArtifact: the ONNX graph cannot be loaded.
    """
    if is_native(graph, options):
        try:
            return NativeSession(graph.parent, options.threads())
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
    """Whether the options ask for the compiled engine: "native" also where there is none beside the graph."""
    return options.runtime != "onnxruntime" and (options.runtime == "native" or exists(graph.parent))
