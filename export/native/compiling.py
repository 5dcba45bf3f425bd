"""Compiles the engine's library for a processor."""

import functools
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from choreo.errors import InvalidArtifact, MissingDependency

SOURCES: Final = tuple(sorted(Path(__file__).parent.rglob("*.cpp")))
"""All of them are compiled: a kernel is added by its file alone, which registers its operators."""
TIMEOUT_S: Final = 300.0
FLAGS: Final = (
    "-std=c++17", "-O3", "-mprefer-vector-width=512", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden",
    "-fPIC", "-pthread",
)  # fmt: skip
LINK_FLAGS: Final = ("-shared", "-pthread", "-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL")

CPU_FLAGS: Final = {
    "SSE3": "pni", "SSSE3": "ssse3", "SSE4_1": "sse4_1", "SSE4_2": "sse4_2", "AVX": "avx", "AVX2": "avx2", "FMA": "fma",
    "F16C": "f16c", "BMI": "bmi1", "BMI2": "bmi2", "LZCNT": "abm", "MOVBE": "movbe", "AVX512F": "avx512f",
    "AVX512BW": "avx512bw", "AVX512CD": "avx512cd", "AVX512DQ": "avx512dq", "AVX512VL": "avx512vl",
    "AVX512IFMA": "avx512ifma", "AVX512VBMI": "avx512vbmi", "AVX512VBMI2": "avx512_vbmi2",
    "AVX512VNNI": "avx512_vnni", "AVX512BITALG": "avx512_bitalg", "AVX512VPOPCNTDQ": "avx512_vpopcntdq",
    "AVX512BF16": "avx512_bf16", "AVX512FP16": "avx512_fp16", "AVXVNNI": "avx_vnni", "GFNI": "gfni", "VAES": "vaes",
    "VPCLMULQDQ": "vpclmulqdq", "SVE": "sve", "ARM_FEATURE_SVE": "sve", "ARM_NEON": "asimd",
}  # fmt: skip
"""The compiler's macros for instruction sets, without their underscores, and the names of these in /proc/cpuinfo."""


@dataclass(frozen=True)
class Library:
    """A shared library's bytes, and the processor flags without which it must not be loaded."""

    content: bytes
    cpu_flags: tuple[str, ...]


@functools.cache
def compiled(processor: str = "native") -> Library:
    """The library for this machine, compiled once per process.

    Args:
        processor: GCC's name of a processor with fewer instruction sets than this one.

    Raises:
        MissingDependency: there is no GNU C++ compiler.
        InvalidArtifact: the sources do not compile.
    """
    compiler = find_compiler()
    target = f"-mcpu={processor}" if os.uname().machine == "aarch64" else f"-march={processor}"
    macros = _output([compiler, target, "-dM", "-E", "-x", "c++", os.devnull])
    defined = {line.split()[1].strip("_") for line in macros.splitlines() if line.startswith("#define __")}
    with tempfile.TemporaryDirectory(prefix="choreo-native-") as folder:
        library = Path(folder) / "engine.so"
        objects = [f"{folder}/{number}.o" for number in range(len(SOURCES))]
        commands = [[compiler, *FLAGS, target, "-c", str(s), "-o", o] for s, o in zip(SOURCES, objects, strict=True)]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(_output, commands))
        _output([compiler, *LINK_FLAGS, *objects, "-o", str(library)])
        return Library(library.read_bytes(), tuple(sorted({flag for m, flag in CPU_FLAGS.items() if m in defined})))


def find_compiler() -> str:
    """Path of a GNU C++ compiler: that of $CXX, or `g++`.

    Raises:
        MissingDependency: there is none.
    """
    for name in (os.environ.get("CXX"), "g++"):
        found = shutil.which(name) if name else None
        # Clang may be installed under this name, and does not support the vector extensions in use.
        if found and "Free Software Foundation" in _output([found, "--version"]):
            return found
    raise MissingDependency("the compiled engine needs the GNU C++ compiler; install g++ or set CXX")


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidArtifact(f"{Path(command[0]).name} cannot be run: {error}") from error
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[-200:])
        raise InvalidArtifact(f"the engine does not compile: {reason}")
    return done.stdout
