"""The files of a compiled engine: built, and compared with torch before anybody uses them."""

import functools
import hashlib
import json
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from choreo.errors import InvalidArtifact
from choreo.files import atomic_write
from choreo.generators.network import sample_inputs
from choreo.generators.spec import GraphSpec
from export.native import loader
from export.native.compiling import Library, compiled
from export.native.lowering import lower
from export.native.program import Program
from export.onnx_graphs import PARITY_BATCHES, TOLERANCE

PROGRAM: Final = "native.bin"
LOADER: Final = "native_loader.py"
"""The copy of `loader` that Triton's stub process imports."""


@dataclass(frozen=True)
class NativePackage:
    """Files of one graph, and its largest difference from torch by batch size."""

    files: tuple[Path, ...]
    parity: dict[int, float]


def build_native(denoiser: nn.Module, graph: GraphSpec, folder: Path, processor: str = "native") -> NativePackage:
    """Compile the engine for this machine, lower the denoiser for it and write both.

    Args:
        processor: see `compiled`.

    Raises:
        MissingDependency: there is no compiler.
        CannotLower: the denoiser is made of what the engine does not know.
        InvalidArtifact: the engine does not compile, or is further from torch than it may be.
    """
    library = compiled(processor)
    files = write_native(library, lower(denoiser, graph, lanes_of(library)), folder)
    try:
        return NativePackage(files, _parity(denoiser, graph, folder))
    except loader.NativeUnavailable as error:
        raise InvalidArtifact(f"the compiled engine cannot be loaded where it was built: {error}") from error


def write_native(library: Library, program: Program, folder: Path) -> tuple[Path, ...]:
    """The files of a compiled engine: library, program, manifest and loader."""
    folder.mkdir(parents=True, exist_ok=True)
    # A library that is loaded already is found by its path, whatever has become of the file: the name tells them apart.
    name = f"native-{hashlib.sha256(library.content).hexdigest()[:12]}.so"
    files = tuple(folder / file for file in (name, PROGRAM, loader.MANIFEST, LOADER))
    # In new files: what is mapped already keeps its bytes.
    atomic_write(files[0], library.content)
    atomic_write(files[1], program.encode())
    manifest = {
        "format": loader.FORMAT,
        "machine": platform.machine(),
        "cpu_flags": library.cpu_flags,
        "inputs": list(program.inputs.items()),
        "output": program.output,
        "operators": program.operators(),
        **{part: _entry(file) for part, file in zip(("library", "program"), files, strict=False)},
    }
    files[2].write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(loader.__file__, files[3])
    return files


@functools.cache
def lanes_of(library: Library) -> int:
    """Floats per vector of a library for this machine."""
    with tempfile.TemporaryDirectory(prefix="choreo-native-") as scratch:
        path = Path(scratch) / "engine.so"
        path.write_bytes(library.content)
        return loader.lanes(path)


def _entry(file: Path) -> dict[str, str]:
    return {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


@torch.no_grad()
def _parity(denoiser: nn.Module, graph: GraphSpec, folder: Path) -> dict[int, float]:
    session, worst = loader.NativeSession(folder), dict[int, float]()
    try:
        for batch in PARITY_BATCHES:
            inputs = sample_inputs(graph, batch, seed=batch)
            (actual,) = session.run(None, {name: values.numpy() for name, values in inputs.items()})
            worst[batch] = float(np.abs(denoiser(*inputs.values()).numpy() - actual).max())
    finally:
        session.close()
    if not max(worst.values()) <= TOLERANCE["float32"]:
        raise InvalidArtifact(f"the compiled engine differs from torch by {max(worst.values()):.2e} ({worst})")
    return worst
