"""What runs a graph on the CPU, and how: the knobs, their defaults, and their form in a model's parameters."""

import os
from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from choreo.errors import InvalidArtifact

OptimizationLevel = Literal["BASIC", "EXTENDED", "ALL"]
"""ONNX Runtime's graph optimisations without their `ORT_ENABLE_`; only ALL has its blocked convolutions."""

Runtime = Literal["auto", "native", "onnxruntime"]
"""What evaluates the denoiser: the engine compiled at export (export/native) or ONNX Runtime. `auto` is the compiled
one where it was built and fits the machine; ONNX Runtime is what remains where it cannot be loaded."""

MAX_INSTANCES: Final = 8
"""Every instance is a process under Triton, with the weights and working memory of its own."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


class EngineOptions(BaseModel):
    """One session's options; `export.tuning` measures which are the fastest here.

    The Python backend cannot import this: it reads the same text by itself (`session_options` in python_backend.py).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: Runtime = "auto"
    instances: int = Field(default=0, ge=0, le=256)
    """Evaluations that run at a time; 0: one per core, at most `MAX_INSTANCES`. Small operators gain little from a
    second thread, and rows are independent: two halves beside each other are done sooner than one after the other."""
    intra_op_threads: int = Field(default=0, ge=0, le=1024)
    """Threads of one evaluation; 0: the instances share all cores. What follows is of ONNX Runtime alone."""
    allow_spinning: bool = False
    """Idle worker threads that spin take the cores from whatever runs beside the engine."""
    memory_arena: bool = True
    memory_pattern: bool = True
    graph_optimization: OptimizationLevel = "ALL"
    batch_rows: int = Field(default=32, ge=1, le=1024)
    """Rows of one evaluation from which on more of them gain next to nothing."""

    def parameters(self) -> dict[str, str]:
        """As parameters of a Triton model configuration; switches are 0 or 1."""
        return {name: str(int(v) if isinstance(v, bool) else v) for name, v in self.model_dump().items()}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Self:
        """Read `parameters()` among others; what is not there has its default.

        Raises:
            InvalidArtifact: a value is not one of the option's.
        """
        try:
            return cls.model_validate({name: parameters[name] for name in cls.model_fields if name in parameters})
        except ValueError as error:
            raise InvalidArtifact(f"the engine options in the model configuration are broken: {error}") from error

    def instance_count(self) -> int:
        """Evaluations that run at a time on this machine."""
        return self.instances or min(cores(), MAX_INSTANCES)

    def threads(self) -> int:
        """Threads of one evaluation on this machine."""
        # ONNX Runtime's own default pins its threads, and counts the machine's cores, not the ones it may use.
        return self.intra_op_threads or max(1, cores() // self.instance_count())

    def session_options(self) -> Any:
        """As `onnxruntime.SessionOptions`."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads()
        options.enable_cpu_mem_arena = self.memory_arena
        options.enable_mem_pattern = self.memory_pattern
        level = f"ORT_ENABLE_{self.graph_optimization}"
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.allow_spinning)))
        return options
