"""How a supervised Triton server is started: its settings, its command line, and what must be there before."""

import subprocess
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from choreo.errors import BackendUnavailable
from serving.triton.process import Installation, spawn
from serving.triton.served_models import ServedModels
from serving.util.ownership import SHARED_MEMORY, free_shared_memory

HOST: Final = "127.0.0.1"
_LOG_BYTES: Final = 8 << 20


class TritonSettings(BaseModel):
    """How the server is run and watched."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grpc_port: int = Field(default=0, ge=0, le=65535)
    """Loopback port; 0 takes a free one, which later restarts keep."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    log_file: Path | None = None
    """Where the server's output goes; None keeps it with the temporary files, which are removed at the end."""
    shared_memory_mib: int = Field(default=16, ge=1)
    """Shared memory per model at the start; it grows by half of that when a batch needs more."""
    start_timeout_s: float = Field(default=120.0, gt=0)
    exit_timeout_s: int = Field(default=5, ge=1)
    poll_s: float = Field(default=0.25, gt=0)
    """How often the processes are looked at."""
    canary_period_s: float = Field(default=4.0, gt=0)
    """How often a model that has answered nothing in the meantime gets a canary inference; at once after a failure."""
    canary_timeout_s: float = Field(default=2.0, gt=0)
    """Longest time of a canary, unless batches of a model were seen to take so long that it would wait behind them."""
    canary_strikes: int = Field(default=3, ge=1)
    """Canaries in a row that may time out or be refused before the server is restarted."""
    models_poll_s: float = Field(default=1.0, gt=0)
    """How often the repository is looked at for generators that were added, changed or removed."""
    first_delay_s: float = Field(default=0.1, gt=0)
    """Pause before a restart; it doubles while restarts keep failing or do not last."""
    max_delay_s: float = Field(default=30.0, gt=0)
    lasting_s: float = Field(default=60.0, gt=0)
    """A server that stayed up this long starts again with the first delay."""


class Launch:
    """What every start of one supervised server has in common."""

    def __init__(
        self,
        installation: Installation,
        models: ServedModels,
        work: Path,
        prefix: str,
        log: Path,
        settings: TritonSettings,
    ) -> None:
        self.models, self.prefix = models, prefix
        self._installation, self._work = installation, work
        self._log, self._settings = log, settings
        self._backends = installation.link_backend(work)

    def spawn(self, ports: tuple[int, int]) -> subprocess.Popen[bytes]:
        """Start the server on a gRPC and a metrics port; must be called from the supervisor's thread.

        Raises:
            BackendUnavailable: there is too little shared memory for its models.
        """
        if self._log.is_file() and self._log.stat().st_size > _LOG_BYTES:
            self._log.replace(self._log.with_name(self._log.name + ".1"))
        # At every start: an export meanwhile has put other files where the links of the last one lead.
        names = self.models.link_all()
        self._check_shared_memory()
        return spawn(self._command(names, ports), self._installation.environment(), self._work, self._log)

    def _check_shared_memory(self) -> None:
        """Triton itself says so on a page of its log, after it has tried."""
        each, processes = self._settings.shared_memory_mib, self.models.backend_processes()
        free = free_shared_memory() >> 20
        if free < each * processes:
            raise BackendUnavailable(
                f"{SHARED_MEMORY} has {free} MiB free, and Triton needs {each * processes} for {processes} model "
                "processes; give the container more, as by `docker run --shm-size=512m`"
            )

    def _command(self, names: list[str], ports: tuple[int, int]) -> list[str]:
        settings, memory = self._settings, self._settings.shared_memory_mib << 20
        python = {
            "shm-region-prefix-name": self.prefix,
            "shm-default-byte-size": memory,
            "shm-growth-byte-size": memory // 2,
            "stub-timeout-seconds": int(settings.start_timeout_s) + 1,
        }
        return [
            str(self._installation.binary),
            f"--id={self.prefix}",
            f"--model-repository={self.models.folder}",
            f"--backend-directory={self._backends}",
            f"--cache-directory={self._installation.caches}",
            "--disable-auto-complete-config",
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in names),
            # A generator that cannot be loaded must not take the others with it.
            "--exit-on-error=false",
            "--strict-readiness=false",
            f"--exit-timeout-secs={settings.exit_timeout_s}",
            # HTTP is off: cancellation and deadlines travel only over gRPC, and it has been the road of the exploits.
            "--allow-http=false",
            f"--grpc-address={HOST}",
            f"--grpc-port={ports[0]}",
            f"--metrics-address={HOST}",
            f"--metrics-port={ports[1]}",
            "--allow-gpu-metrics=false",
            "--pinned-memory-pool-byte-size=0",
            *(f"--backend-config=python,{key}={value}" for key, value in python.items()),
        ]
