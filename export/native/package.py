"""Writes the files of a compiled engine, and compares it with torch before anyone uses it."""

import functools
import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from choreo.errors import InvalidArtifact
from choreo.files import atomic_write
from export.native import loader
from export.native.compiling import Library, compiled
from export.native.lowering import lower
from export.native.program import Program, Shape
from export.onnx_graphs import PARITY_BATCHES, TOLERANCE

PROGRAM: Final = "native.bin"
LOADER: Final = "native_loader.py"
"""The copy of `loader` that Triton's stub process imports."""

Samples = Callable[[int, int], dict[str, NDArray[np.float32]]]
"""(rows, seed) -> random valid inputs (rows, *shape) by name."""


@dataclass(frozen=True)
class NativePackage:
    """The files of one graph, and its largest absolute difference from torch by batch size."""

    files: tuple[Path, ...]
    parity: dict[int, float]


def build_native(
    module: nn.Module,
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
    folder: Path,
    samples: Samples,
    lowering: str,
    processor: str = "native",
) -> NativePackage:
    """Compile the engine for this machine, lower a module for it and write both.

    Args:
        module: takes the inputs in order; is in evaluation mode.
        inputs: shapes by name, without the batch axis.
        outputs: likewise.
        folder: is created if missing.
        samples: random valid inputs, for the comparison with torch.
        lowering: name of the function that lowers the module, see `export.native.lowering`.
        processor: see `export.native.compiling.compiled`.

    Raises:
        MissingDependency: there is no compiler.
        CannotLower: there is no such lowering, or the module has parts that the engine has no operator for.
        InvalidArtifact: the engine does not compile, or differs from torch by more than the tolerance.
    """
    library = compiled(processor)
    files = write_native(library, lower(module, inputs, outputs, lanes_of(library), lowering), folder)
    try:
        return NativePackage(files, _parity(module, list(inputs), samples, folder))
    except loader.NativeUnavailable as error:
        raise InvalidArtifact(f"the compiled engine cannot be loaded where it was built: {error}") from error


def write_native(library: Library, program: Program, folder: Path) -> tuple[Path, ...]:
    """Write the files of a compiled engine, library, program, manifest and loader, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    # The dynamic linker recognises a library that is loaded already by its path, so other content needs another name.
    name = f"native-{hashlib.sha256(library.content).hexdigest()[:12]}.so"
    files = tuple(folder / file for file in (name, PROGRAM, loader.MANIFEST, LOADER))
    # As new files, because processes may have the old ones mapped.
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
def _parity(module: nn.Module, names: list[str], samples: Samples, folder: Path) -> dict[int, float]:
    session, worst = loader.NativeSession(folder), dict[int, float]()
    try:
        for batch in PARITY_BATCHES:
            drawn = samples(batch, batch)
            inputs = {name: drawn[name] for name in names}
            (actual,) = session.run(None, inputs)
            worst[batch] = float(np.abs(module(*map(torch.from_numpy, inputs.values())).numpy() - actual).max())
    finally:
        session.close()
    if not max(worst.values()) <= TOLERANCE["float32"]:
        raise InvalidArtifact(f"the compiled engine differs from torch by {max(worst.values()):.2e} ({worst})")
    return worst
