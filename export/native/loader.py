"""Loads a compiled engine and calls it.

A copy of this file goes into a model's folder beside what it loads, and Triton's stub process imports it there: it
needs NumPy and nothing of this program.
"""

import ctypes
import hashlib
import itertools
import json
import os
import platform
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MANIFEST: Final = "native.json"
FORMAT: Final = 1
"""Of the manifest."""
_MESSAGE_BYTES: Final = 256


class NativeUnavailable(RuntimeError):
    """The compiled engine in a folder cannot be used on this machine; the message says why."""


def exists(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder has a compiled engine, fit for this machine or not."""
    return os.path.isfile(os.path.join(folder, MANIFEST))


def check(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of the engine in a folder, which is whole and fits this machine.

    Raises:
        NativeUnavailable: it is not, or does not.
    """
    manifest = _manifest(folder)
    for part in ("library", "program"):
        _checked(folder, manifest[part])
    return manifest


def cpu_flags() -> frozenset[str]:
    """What this processor can do, in the words of Linux."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.split())
    return frozenset()


class NativeSession:
    """Evaluates rows of one graph. Rows of a call are shared out over threads; calls may run beside each other."""

    def __init__(self, folder: str | os.PathLike[str], threads: int = 1) -> None:
        """Load the engine in a folder.

        Args:
            threads: of one call, each with a part of its rows.

        Raises:
            NativeUnavailable: there is none, it is broken, or it was built for another processor.
        """
        manifest = _manifest(folder)
        self._inputs: dict[str, tuple[int, ...]] = {name: tuple(shape) for name, shape in manifest["inputs"]}
        self._name, self._shape = manifest["output"][0], tuple(manifest["output"][1])
        self._operators: list[str] = list(manifest.get("operators", ()))
        library, self._program = (_checked(folder, manifest[part]) for part in ("library", "program"))
        self._library = _library(library)
        self._threads = max(1, threads)
        self._lock = threading.Lock()
        self._idle = [self._opened()]
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None

    def run(
        self, names: Sequence[str] | None, inputs: Mapping[str, NDArray[np.float32]], options: Any = None
    ) -> list[NDArray[np.float32]]:
        """Like ONNX Runtime's: outputs for inputs (rows, *shape) by name. There is one output; `options` are not used.

        Raises:
            ValueError: an input is missing or has another shape.
            RuntimeError: the engine failed.
        """
        if names is not None and list(names) != [self._name]:
            raise ValueError(f"the only output is {self._name!r}, not {list(names)}")
        arrays = [np.ascontiguousarray(inputs[name], np.float32) for name in self._inputs if name in inputs]
        rows = len(arrays[0]) if arrays and arrays[0].ndim else 0
        shapes = [(rows, *shape) for shape in self._inputs.values()]
        if [array.shape for array in arrays] != shapes:
            raise ValueError(f"inputs must be {dict(zip(self._inputs, shapes, strict=True))}")
        out = np.empty((rows, *self._shape), np.float32)
        count = min(self._threads, max(rows, 1))
        bounds = [rows * i // count for i in range(count + 1)]
        parts = [([a[i:j] for a in arrays], out[i:j]) for i, j in itertools.pairwise(bounds)]
        if self._pool is None or len(parts) == 1:
            for part in parts:
                self._run(*part)
        else:
            list(self._pool.map(lambda part: self._run(*part), parts))
        return [out]

    def profile(self) -> list[tuple[str, float]]:
        """Operators of one handle by kind, and the seconds that each took since the last call; the first call is none.

        For sessions of one thread without calls beside each other.
        """
        handle, count = self._idle[-1], len(self._operators)
        seconds = (ctypes.c_double * count)()
        self._library.choreo_native_profile(handle, seconds, count)
        return list(zip(self._operators, seconds, strict=True))

    def close(self) -> None:
        """Give back memory and threads. Calls must have ended."""
        if self._pool is not None:
            self._pool.shutdown()
        with self._lock:
            handles, self._idle = self._idle, []
        for handle in handles:
            self._library.choreo_native_close(handle)

    def __del__(self) -> None:
        if hasattr(self, "_idle"):
            self.close()

    def _run(self, arrays: list[NDArray[np.float32]], out: NDArray[np.float32]) -> None:
        with self._lock:
            handle = self._idle.pop() if self._idle else None
        # As many handles as calls beside each other: each has working memory of its own, weights are shared.
        handle = handle or self._opened()
        pointers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        try:
            status = self._library.choreo_native_run(
                handle, len(out), pointers, out.ctypes.data, message, _MESSAGE_BYTES
            )
        finally:
            with self._lock:
                self._idle.append(handle)
        if status:
            raise RuntimeError(f"the compiled engine failed: {_text(message)}")

    def _opened(self) -> ctypes.c_void_p:
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        handle = self._library.choreo_native_open(os.fsencode(self._program), message, _MESSAGE_BYTES)
        if not handle:
            raise NativeUnavailable(_text(message))
        return ctypes.c_void_p(handle)


def lanes(path: str | os.PathLike[str]) -> int:
    """Floats per vector of a library that is known to fit this machine."""
    return int(_library(os.fspath(path)).choreo_native_lanes())


def _manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        with open(os.path.join(folder, MANIFEST), encoding="utf-8") as file:
            manifest = json.load(file)
        found = manifest["format"], manifest["machine"]
        missing = sorted(set(manifest["cpu_flags"]) - cpu_flags())
        list(manifest["inputs"]), list(manifest["output"]), dict(manifest["library"]), dict(manifest["program"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise NativeUnavailable(f"the compiled engine's {MANIFEST} cannot be read: {type(error).__name__}") from error
    if found[0] != FORMAT:
        raise NativeUnavailable(f"the compiled engine is of format {found[0]}, not {FORMAT}")
    if found[1] != platform.machine() or missing:
        lacking = f", and this one lacks {', '.join(missing)}" if missing else ""
        raise NativeUnavailable(f"the compiled engine was built for another processor ({found[1]}){lacking}")
    return dict(manifest)


def _checked(folder: str | os.PathLike[str], entry: Mapping[str, str]) -> str:
    """Path of a file in the folder, with the bytes that the manifest says: a library cut short would be a crash."""
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
    try:
        library = ctypes.CDLL(path)
        library.choreo_native_open.restype = ctypes.c_void_p
        library.choreo_native_open.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int64)
        library.choreo_native_run.restype = ctypes.c_int
        library.choreo_native_run.argtypes = (
            ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64
        )  # fmt: skip
        library.choreo_native_close.restype = None
        library.choreo_native_close.argtypes = (ctypes.c_void_p,)
        library.choreo_native_lanes.restype = ctypes.c_int64
        library.choreo_native_profile.restype = ctypes.c_int64
        library.choreo_native_profile.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    except (OSError, AttributeError) as error:
        raise NativeUnavailable(f"the compiled engine's library cannot be loaded: {error}") from error
    return library


def _text(message: Any) -> str:
    return str(message.value.decode("utf-8", "replace"))
