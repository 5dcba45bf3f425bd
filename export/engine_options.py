"""What evaluates a graph on the CPU and how: the options, their defaults, and their form in a model's parameters."""

import os
from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from choreo.errors import InvalidArtifact

Runtime = Literal["auto", "native", "onnxruntime"]
"""What evaluates a graph: the engine compiled at export (export/native) or ONNX Runtime. `auto` is the compiled engine
where one was built. ONNX Runtime takes over where the compiled engine cannot be loaded."""

MAX_INSTANCES: Final = 8
"""Under Triton's Python backend every instance is a process, with its own weights and working memory."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


class EngineOptions(BaseModel):
    """Options of one model; `export.tuning` measures which are the fastest on a machine.

    The Python backend cannot import this class: it reads the same parameters by itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: Runtime = "auto"
    instances: int = Field(default=0, ge=0, le=256)
    """Evaluations at the same time; 0: one per core, at most `MAX_INSTANCES`. Small operators gain little from a second
    thread, and rows are independent: two halves at the same time finish sooner than one after the other."""
    intra_op_threads: int = Field(default=0, ge=0, le=1024)
    """Threads of one instance; 0: the instances share all cores."""
    batch_rows: int = Field(default=32, ge=1, le=1024)
    """Rows of one evaluation above which throughput hardly grows."""

    def parameters(self) -> dict[str, str]:
        """As parameters of a Triton model configuration."""
        return {name: str(value) for name, value in self.model_dump().items()}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Self:
        """Read `parameters()` from among other parameters; missing options have their defaults.

        Raises:
            InvalidArtifact: an option has an invalid value.
        """
        try:
            return cls.model_validate({name: parameters[name] for name in cls.model_fields if name in parameters})
        except ValueError as error:
            raise InvalidArtifact(f"the engine options in the model configuration are broken: {error}") from error

    def instance_count(self) -> int:
        """Evaluations at the same time on this machine."""
        return self.instances or min(cores(), MAX_INSTANCES)

    def threads(self) -> int:
        """Threads of one instance on this machine."""
        # ONNX Runtime's own default pins its threads, and counts the machine's cores, not those it may use.
        return self.intra_op_threads or max(1, cores() // self.instance_count())

    def workers(self) -> int:
        """Threads of all instances on this machine, which the compiled engine uses for one call."""
        return self.instance_count() * self.threads()

    def session_options(self) -> Any:
        """As `onnxruntime.SessionOptions`."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads()
        # Idle threads that spin take the cores from whatever else runs on the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options
