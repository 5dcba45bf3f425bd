"""Loads a compiled engine and calls it.

A copy of this file is written to a model's folder next to the engine, where Triton's stub process imports it, so it
depends on NumPy alone and not on the rest of this program.
"""

import ctypes
import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MANIFEST: Final = "native.json"
FORMAT: Final = 2
"""Version of the manifest and of the library's C interface (interface.h)."""
_MESSAGE_BYTES: Final = 512


class NativeUnavailable(RuntimeError):
    """The compiled engine in a folder cannot be used on this machine; the message says why."""


def exists(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder contains a compiled engine, usable on this machine or not."""
    return os.path.isfile(os.path.join(folder, MANIFEST))


def check(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of the engine in a folder, after checking that its files are complete and fit this machine.

    Raises:
        NativeUnavailable: they are not, or do not.
    """
    manifest = _manifest(folder)
    for part in ("library", "program"):
        _checked(folder, manifest[part])
    return manifest


def cpu_flags() -> frozenset[str]:
    """The instruction sets of this processor, by their names in /proc/cpuinfo."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.split())
    return frozenset()


class NativeSession:
    """Evaluates one graph. Its worker pool divides the rows of every call over cores, so callers need not.

    Calls may be made from several threads at the same time; they share the workers.
    """

    def __init__(self, folder: str | os.PathLike[str], threads: int = 0) -> None:
        """Load the engine in a folder.

        Args:
            threads: cores to use, the caller's thread included; 0: all that this process may use.

        Raises:
            NativeUnavailable: there is no engine, it is broken, or it was built for another processor.
        """
        manifest = _manifest(folder)
        self._inputs: dict[str, tuple[int, ...]] = {name: tuple(shape) for name, shape in manifest["inputs"]}
        self._name, self._shape = manifest["output"][0], tuple(manifest["output"][1])
        self._operators: list[str] = list(manifest.get("operators", ()))
        library, program = (_checked(folder, manifest[part]) for part in ("library", "program"))
        self._library = _library(library)
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        workers = threads or len(os.sched_getaffinity(0))
        handle = self._library.choreo_native_open(os.fsencode(program), workers, message, _MESSAGE_BYTES)
        if not handle:
            raise NativeUnavailable(_text(message))
        self._handle: ctypes.c_void_p | None = ctypes.c_void_p(handle)
        self._check_sizes()

    def run(
        self, names: Sequence[str] | None, inputs: Mapping[str, NDArray[np.float32]], options: Any = None
    ) -> list[NDArray[np.float32]]:
        """Evaluate rows; has the signature of `onnxruntime.InferenceSession.run`.

        Args:
            names: of the outputs, of which there is one; None for all.
            inputs: arrays (rows, *shape) by name.
            options: ignored.

        Raises:
            ValueError: an input is missing or has another shape, or there is no such output.
            RuntimeError: the engine failed or is closed.
        """
        if names is not None and list(names) != [self._name]:
            raise ValueError(f"the only output is {self._name!r}, not {list(names)}")
        arrays = [np.ascontiguousarray(inputs[name], np.float32) for name in self._inputs if name in inputs]
        rows = len(arrays[0]) if arrays and arrays[0].ndim else 0
        shapes = [(rows, *shape) for shape in self._inputs.values()]
        if [array.shape for array in arrays] != shapes:
            raise ValueError(f"inputs must be {dict(zip(self._inputs, shapes, strict=True))}")
        if self._handle is None:
            raise RuntimeError("the compiled engine is closed")
        out = np.empty((rows, *self._shape), np.float32)
        pointers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        if self._library.choreo_native_run(self._handle, rows, pointers, out.ctypes.data, message, _MESSAGE_BYTES):
            raise RuntimeError(f"the compiled engine failed: {_text(message)}")
        return [out]

    def profile(self) -> list[tuple[str, float]]:
        """Operators by name in the order in which they run, with the seconds spent in each since the last call.

        The first call starts the measurement. The seconds are summed over all workers.
        """
        count = len(self._operators)
        seconds = (ctypes.c_double * count)()
        self._library.choreo_native_profile(self._handle, seconds, count)
        return list(zip(self._operators, seconds, strict=True))

    def close(self) -> None:
        """Release memory and threads. Calls must have ended."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._library.choreo_native_close(handle)

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self.close()

    def _check_sizes(self) -> None:
        """A manifest that disagrees with the program would let the engine read past the end of an array."""
        count = int(self._library.choreo_native_inputs(self._handle))
        sizes = [int(self._library.choreo_native_floats(self._handle, i)) for i in range(count + 1)]
        expected = [int(np.prod(shape, dtype=np.int64)) for shape in (*self._inputs.values(), self._shape)]
        if sizes != expected:
            self.close()
            raise NativeUnavailable(
                "the compiled engine's program has other inputs or another output than the manifest"
            )


def lanes(path: str | os.PathLike[str]) -> int:
    """Floats per vector of a library that is known to fit this machine."""
    return int(_library(os.fspath(path)).choreo_native_lanes())


def _manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        with open(os.path.join(folder, MANIFEST), encoding="utf-8") as file:
            manifest = json.load(file)
        version, machine = manifest["format"], manifest["machine"]
        missing = sorted(set(manifest["cpu_flags"]) - cpu_flags())
        list(manifest["inputs"]), list(manifest["output"]), dict(manifest["library"]), dict(manifest["program"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise NativeUnavailable(f"the compiled engine's {MANIFEST} cannot be read: {type(error).__name__}") from error
    if version != FORMAT:
        raise NativeUnavailable(f"the compiled engine is of format {version}, not {FORMAT}")
    if machine != platform.machine() or missing:
        lacking = f", and this one lacks {', '.join(missing)}" if missing else ""
        raise NativeUnavailable(f"the compiled engine was built for another processor ({machine}){lacking}")
    return dict(manifest)


def _checked(folder: str | os.PathLike[str], entry: Mapping[str, str]) -> str:
    """Path of a file in the folder, after comparing its hash: loading a truncated library would crash the process."""
    try:
        path = os.path.join(folder, os.path.basename(entry["file"]))
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, KeyError, TypeError) as error:
        raise NativeUnavailable(f"a file of the compiled engine cannot be read: {type(error).__name__}") from error
    if digest != entry.get("sha256"):
        raise NativeUnavailable(f"{os.path.basename(path)} is not the file that the compiled engine was built with")
    return path


def _library(path: str) -> ctypes.CDLL:
    pointer, integer, text = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p
    signatures: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "lanes": (integer, ()),
        "open": (pointer, (text, integer, text, integer)),
        "inputs": (integer, (pointer,)),
        "floats": (integer, (pointer, integer)),
        "run": (ctypes.c_int, (pointer, integer, pointer, pointer, text, integer)),
        "profile": (integer, (pointer, pointer, integer)),
        "close": (None, (pointer,)),
    }
    try:
        library = ctypes.CDLL(path)
        for name, (result, arguments) in signatures.items():
            function = getattr(library, f"choreo_native_{name}")
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise NativeUnavailable(f"the compiled engine's library cannot be loaded: {error}") from error
    return library


def _text(message: Any) -> str:
    return str(message.value.decode("utf-8", "replace"))
