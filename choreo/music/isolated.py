"""Decoding of untrusted uploads in a child process with limited time, memory and output."""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from choreo.errors import InvalidInput, MissingDependency
from choreo.motion.formats.sound import FILM_RATE, Sound
from choreo.music.audio import SAMPLE_RATE, Audio, read_source
from choreo.music.limits import DECODE_SECONDS, MAX_AMPLITUDE, MAX_MEMORY_BYTES, MAX_SECONDS

_HEADER_BYTES = 4096
_MAX_NOTES, _MAX_NOTE_CHARS = 8, 200
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "IMAGEIO_FFMPEG_EXE")


def decode_audio_isolated(
    source: bytes | Path,
    *,
    max_seconds: float = MAX_SECONDS,
    field: str = "audio",
    sample_rate: int = SAMPLE_RATE,
    timeout: float = DECODE_SECONDS,
    memory_bytes: int = MAX_MEMORY_BYTES,
) -> Audio:
    """`decode_audio` in a child process, so that a hostile file cannot harm this one.

    The child has ended and is reaped when this returns or raises.

    Raises:
        InvalidInput: as for `decode_audio`; also when decoding crashes or exceeds `timeout` seconds or `memory_bytes`.
        MissingDependency: the child could not run.
    """
    data = read_source(source, field)
    options = {
        "soundtrack": False,
        "max_seconds": max_seconds,
        "sample_rate": sample_rate,
        "memory_bytes": memory_bytes,
    }
    message, body = _answer(data, options, math.ceil(max_seconds * sample_rate) * 4, field, timeout)
    try:
        samples = np.frombuffer(body, np.float32)
        if not len(samples) <= max_seconds * sample_rate + 1 or not np.abs(samples).max(initial=0) <= 2 * MAX_AMPLITUDE:
            raise InvalidInput(field, "the audio is corrupt")
        digest = hashlib.sha256(data).hexdigest()
        return Audio(samples, sample_rate, float(message["seconds"]), digest, _notes(message))
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(field, "the audio is corrupt") from error


def decode_soundtrack_isolated(
    source: bytes | Path,
    seconds: float,
    *,
    field: str = "audio",
    timeout: float = DECODE_SECONDS,
    memory_bytes: int = MAX_MEMORY_BYTES,
) -> Sound:
    """`decode_soundtrack` in a child process: the sound of a film of `seconds`.

    Raises:
        InvalidInput: as for `decode_audio_isolated`.
        MissingDependency: the child could not run.
    """
    data = read_source(source, field)
    options = {"soundtrack": True, "max_seconds": seconds, "memory_bytes": memory_bytes}
    output_bytes = (math.ceil(seconds * FILM_RATE) + 1) * 4
    _, body = _answer(data, options, output_bytes, field, timeout)
    try:
        return Sound(np.frombuffer(body, np.int16).reshape(-1, 2))
    except ValueError as error:
        raise InvalidInput(field, "the audio is corrupt") from error


def _answer(
    data: bytes, options: dict[str, Any], output_bytes: int, field: str, timeout: float
) -> tuple[dict[str, Any], bytes]:
    """What a child says of a song, and the bytes of its samples; neither is to be trusted."""
    options = options | {
        "cpu_seconds": math.ceil(timeout) + 1,
        # ffmpeg is given the song as a file of its own.
        "output_bytes": max(output_bytes, len(data)) + _HEADER_BYTES,
    }
    # Anonymous memory files instead of pipes: no deadlock, and RLIMIT_FSIZE limits the output.
    with _memory_file("audio-in") as stdin, _memory_file("audio-out") as stdout, _memory_file("audio-err") as stderr:
        stdin.write(data)
        stdin.seek(0)
        code = _run(
            [sys.executable, "-P", "-m", "choreo.music.decode_worker", json.dumps(options)],
            stdin,
            stdout,
            stderr,
            timeout,
        )
        if code is None or code == -signal.SIGXCPU:
            raise InvalidInput(field, f"decoding the audio took longer than {timeout:g} s")
        if code < 0:
            raise InvalidInput(field, "the audio is corrupt: decoding it crashed")
        if code > 0:
            stderr.seek(0)
            detail = stderr.read(1 << 20).decode(errors="replace").strip().splitlines()[-1:]
            raise MissingDependency(f"the audio decoder process failed: {' '.join(detail)[:300]}")
        stdout.seek(0)
        return _parse(stdout, output_bytes + _HEADER_BYTES, field)


def _memory_file(name: str) -> BinaryIO:
    return os.fdopen(os.memfd_create(name), "w+b", buffering=0)


def _run(command: list[str], stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO, timeout: float) -> int | None:
    """Exit status of the command, None if it was killed because it took too long; it is reaped in every case."""
    # Only what the interpreter needs: a compromised decoder must find no secrets.
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment |= {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=stderr, env=environment, cwd="/", start_new_session=True
    )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _parse(answer: BinaryIO, max_bytes: int, field: str) -> tuple[dict[str, Any], bytes]:
    header, newline, rest = answer.read(_HEADER_BYTES).partition(b"\n")
    body = rest + answer.read(max_bytes)
    try:
        message = json.loads(header) if newline else None
    except ValueError as error:
        raise InvalidInput(field, "the audio is corrupt") from error
    if not isinstance(message, dict):
        raise InvalidInput(field, "the audio is corrupt")
    if "error" in message:
        raise InvalidInput(field, str(message["error"]))
    return message, body


def _notes(message: dict[str, Any]) -> tuple[str, ...]:
    """A child's notes, as far as they are short and plain."""
    notes = message.get("notes", [])
    return tuple(str(note)[:_MAX_NOTE_CHARS] for note in notes[:_MAX_NOTES] if str(note).isascii())
