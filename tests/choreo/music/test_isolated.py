"""Decoding in a child: the same song, bounded in time and memory, and no child is left behind."""

import io
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from choreo.errors import InvalidInput, MissingDependency
from choreo.music import isolated
from choreo.music.audio import decode_audio
from choreo.music.isolated import decode_audio_isolated

POPEN: Callable[..., Any] = subprocess.Popen
"""The real one, which tests replace."""


def wav(seconds: float = 1.0) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * 44_100), 2))
    soundfile.write(file, noise, 44_100, format="WAV")
    return file.getvalue()


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def run_instead(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the child run `code` in place of the decoder."""

    def start(command: list[str], **options: Any) -> Any:
        return POPEN([sys.executable, "-c", code, command[-1]], **options)

    monkeypatch.setattr(isolated.subprocess, "Popen", start)


def test_the_child_decodes_the_same_song(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(wav())
    here, there = decode_audio(path), decode_audio_isolated(path)
    np.testing.assert_array_equal(here.samples, there.samples)
    assert (here.seconds, here.sha256, here.sample_rate) == (there.seconds, there.sha256, there.sample_rate)
    assert decode_audio_isolated(wav(), sample_rate=44_100).sample_rate == 44_100
    assert not children()


def test_what_the_child_refuses_is_refused_here() -> None:
    for data, message in ((b"nonsense", "not audio"), (wav(2.0), "limit of 1 s"), (b"", "empty")):
        with pytest.raises(InvalidInput, match=message) as caught:
            decode_audio_isolated(data, max_seconds=1, field="song")
        assert caught.value.field == "song"
    assert not children()


def test_a_tiny_timeout_kills_the_child() -> None:
    with pytest.raises(InvalidInput, match=r"longer than 0\.02 s") as caught:
        decode_audio_isolated(wav(), timeout=0.02, field="song")
    assert caught.value.field == "song"
    assert not children()


def test_a_hang_that_ignores_signals_is_killed_with_its_own_children(monkeypatch: pytest.MonkeyPatch) -> None:
    marker = f"hang-{uuid.uuid4()}"
    run_instead(
        monkeypatch,
        f"import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork(); time.sleep(99) # {marker}",
    )
    with pytest.raises(InvalidInput, match="took longer"):
        decode_audio_isolated(wav(), timeout=0.5)
    deadline = time.monotonic() + 10
    while left := [p.info["pid"] for p in psutil.process_iter(["pid", "cmdline"]) if marker in str(p.info["cmdline"])]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})", "crashed"),
        (f"import os; os.kill(os.getpid(), {int(signal.SIGXCPU)})", "took longer"),
        ("print('not json')", "corrupt"),
        ("", "corrupt"),
        ("print('[1]')", "corrupt"),
        ("print('{}')", "corrupt"),
        ("""print('{"seconds": 1.0}')""", "corrupt"),
        ("""print('{"seconds": NaN}')""", "corrupt"),
        ("""print('{"seconds": 1e9}' + chr(10) + 'x' * 400000)""", "corrupt"),
        ("""print('{"seconds": 1.0}' + chr(10) + 'abc', end="")""", "corrupt"),
    ],
)
def test_a_child_that_crashed_or_was_taken_over_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    run_instead(monkeypatch, code)
    with pytest.raises(InvalidInput, match=message):
        decode_audio_isolated(wav(), max_seconds=2)


def test_the_child_obeys_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = (
        "import json, sys; from choreo.music.process_limits import limit_process as limit; o = json.loads(sys.argv[1]);"
        "limit(o['memory_bytes'], 1, o['output_bytes']);"
    )
    run_instead(monkeypatch, limit + "bytearray(3 << 30)")
    with pytest.raises(MissingDependency, match="MemoryError"):
        decode_audio_isolated(wav())
    run_instead(monkeypatch, limit + "exec('while True: pass')")
    with pytest.raises(InvalidInput, match="took longer"):
        decode_audio_isolated(wav(), timeout=20)
    run_instead(monkeypatch, limit + "sys.stdout.write('x' * 10_000_000)")
    with pytest.raises((InvalidInput, MissingDependency)):
        decode_audio_isolated(wav(), max_seconds=1)


def test_too_little_memory_is_said_to_be_that() -> None:
    noise = np.zeros((400 * 8_000, 1))
    file = io.BytesIO()
    soundfile.write(file, noise, 8_000, format="FLAC")
    tight = 96 << 20
    with pytest.raises((InvalidInput, MissingDependency)):
        decode_audio_isolated(file.getvalue(), memory_bytes=tight)


def test_the_environment_of_the_child_holds_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    run_instead(monkeypatch, "import json, os; print(json.dumps({'error': str('SECRET_TOKEN' in os.environ)}))")
    with pytest.raises(InvalidInput, match="False"):
        decode_audio_isolated(wav())


def test_threads_decode_at_once() -> None:
    songs: list[Any] = []
    threads = [threading.Thread(target=lambda: songs.append(decode_audio_isolated(wav(0.5)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({song.samples.tobytes() for song in songs}) == 1
    assert len(songs) == 4
    assert not children()
