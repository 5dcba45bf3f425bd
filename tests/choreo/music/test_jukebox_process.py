"""Jukebox in another process: the protocol with a fake model, and the real model where an interpreter has it."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tiny_jukebox import jukebox_python, run, save_tiny_jukebox

from choreo.errors import BackendUnavailable, ChoreoError, InvalidArtifact, MissingDependency
from choreo.music.audio import Audio
from choreo.music.jukebox import JukeboxEncoder
from choreo.music.jukebox_process import JukeboxProcess
from choreo.music.jukebox_worker import SAMPLE_RATE, SAMPLES_PER_FRAME
from choreo.music.synth import synthesize_song

SAMPLES = 3 * SAMPLES_PER_FRAME + 7
OPTIONS: dict[str, Any] = {"source": "", "device": None, "layer": 2, "dim": 4}
FAKE = """
import json, os, runpy, sys, threading
import numpy as np

worker = runpy.run_path(sys.argv[2])
options = json.loads(sys.argv[3])

def fake_activations(samples):
    print("a library prints this")
    {window}
    return samples[:3 * 1470].reshape(3, 1470)[:, [0]] * np.arange(1, options["dim"] + 1, dtype=np.float32)

def fake_load(**options):
    {load}
    return worker["WindowModel"]({samples}, fake_activations)

worker["main"].__globals__["load"] = fake_load
worker["main"](options)
"""

FakePython = Callable[..., Path]


@pytest.fixture
def fake_python(tmp_path: Path) -> FakePython:
    """Makes an interpreter that runs the worker with a fake model; `load` and `window` are statements of it."""

    def make(load: str = "pass", window: str = "pass", samples: int = SAMPLES) -> Path:
        program = tmp_path / "fake.py"
        program.write_text(FAKE.format(load=load, window=window, samples=samples))
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} {program} "$@"\n')
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        return python

    return make


def window(first: float = 1.0) -> np.ndarray:
    samples = np.zeros(SAMPLES, np.float32)
    samples[::SAMPLES_PER_FRAME] = [first, first + 1, first + 2, 0]
    return samples


def test_windows_come_back_as_activations(fake_python: FakePython) -> None:
    process = JukeboxProcess(fake_python(), OPTIONS)
    assert process.samples == SAMPLES
    for first in (1.0, 5.0):
        expected = np.arange(first, first + 3)[:, None] * np.arange(1, 5)
        np.testing.assert_array_equal(process.activations(window(first)), expected)
    process.close()
    assert process._process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("load", "error", "message"),
    [
        ("import transformers_that_is_not_there", MissingDependency, "transformers_that_is_not_there"),
        ("raise OSError('no such weights')", MissingDependency, "no such weights"),
        ("raise ValueError('not a model')", MissingDependency, "not a model"),
        ("raise worker['WrongWeightsError']('must be the 5b prior')", InvalidArtifact, "5b prior"),
        ("raise KeyError('a bug')", BackendUnavailable, "a bug"),
        ("os._exit(3)", BackendUnavailable, "EOFError"),
        ("os.write(1, b'hello'); sys.exit('wrong architecture')", BackendUnavailable, "wrong architecture"),
    ],
)
def test_failures_to_load_are_typed(fake_python: FakePython, load: str, error: type[ChoreoError], message: str) -> None:
    with pytest.raises(error, match=message):
        JukeboxProcess(fake_python(load), OPTIONS)


def test_an_interpreter_that_is_another_program_is_refused() -> None:
    with pytest.raises(BackendUnavailable, match="the Jukebox process failed"):
        JukeboxProcess("/bin/echo", OPTIONS)


@pytest.mark.parametrize("samples", [0, 1 << 40])
def test_windows_of_absurd_length_are_refused(fake_python: FakePython, samples: int) -> None:
    with pytest.raises(BackendUnavailable, match="the Jukebox process failed"):
        JukeboxProcess(fake_python(samples=samples), OPTIONS)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("raise RuntimeError('CUDA out of memory')", "CUDA out of memory"),
        ("os._exit(3)", "the Jukebox process failed"),
        ("os.write(2, b'illegal instruction'); os.abort()", "illegal instruction"),
    ],
)
def test_a_window_that_fails_ends_the_process(fake_python: FakePython, statement: str, message: str) -> None:
    process = JukeboxProcess(fake_python(window=statement), OPTIONS)
    with pytest.raises(BackendUnavailable, match=message):
        process.activations(window())
    assert process._process.returncode is not None
    with pytest.raises(BackendUnavailable):
        process.activations(window())


def test_a_worker_that_hangs_is_killed(fake_python: FakePython) -> None:
    process = JukeboxProcess(fake_python(window="threading.Event().wait()"), OPTIONS, window_seconds=0.3)
    with pytest.raises(BackendUnavailable, match=r"a window of Jukebox took longer than 0\.3 s"):
        process.activations(window())
    assert process._process.returncode == -signal.SIGKILL
    with pytest.raises(BackendUnavailable, match=r"loading Jukebox took longer than 0\.3 s"):
        JukeboxProcess(fake_python(load="threading.Event().wait()"), OPTIONS, load_seconds=0.3)


def test_an_encoder_starts_a_new_process_after_a_failure(fake_python: FakePython, tmp_path: Path) -> None:
    once = f"os.path.exists({str(tmp_path / 'failed')!r}) or (open({str(tmp_path / 'failed')!r}, 'w'), os._exit(3))"
    encoder = JukeboxEncoder(tmp_path, fake_python(window=once))
    samples, rate, _ = synthesize_song(120, 1.0)
    audio = Audio(samples, rate, 1.0, "digest")
    with pytest.raises(BackendUnavailable):
        encoder.encode(audio)
    song = encoder.encode(audio)
    assert (song.features.shape, song.encoder, song.digest) == ((30, 4800), "jukebox", "digest")


def test_a_closed_encoder_leaves_no_process_and_can_start_again(fake_python: FakePython, tmp_path: Path) -> None:
    encoder = JukeboxEncoder(tmp_path, fake_python())
    encoder.close()
    samples, rate, _ = synthesize_song(120, 1.0)
    audio = Audio(samples, rate, 1.0, "digest")
    first = encoder.encode(audio)
    assert isinstance(encoder._model, JukeboxProcess)
    process = encoder._model._process
    encoder.close()
    assert process.returncode == -signal.SIGKILL
    np.testing.assert_array_equal(encoder.encode(audio).features, first.features)
    encoder.close()


def test_the_worker_ends_with_its_parent(fake_python: FakePython) -> None:
    """Also while it computes: the parent is killed in the middle of a window."""
    program = (
        "import sys, numpy as np\n"
        "from choreo.music.jukebox_process import JukeboxProcess\n"
        f"process = JukeboxProcess(sys.argv[1], {OPTIONS!r})\n"
        "print(process._process.pid, flush=True)\n"
        f"process.activations(np.zeros({SAMPLES}, np.float32))\n"
    )
    python = fake_python(window="threading.Event().wait()")
    command = [sys.executable, "-c", program, str(python)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([worker], timeout=60)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


REFERENCE = """
import sys, numpy as np, torch
from transformers.models.deprecated.jukebox import JukeboxModel

model = JukeboxModel.from_pretrained(sys.argv[1], local_files_only=True).eval()
prior, samples = model.priors[0], np.load(sys.argv[2])
blocks = prior.prior.transformer._attn_mods
own = [block for block in blocks if block.attn_func != "cross_attention"][int(sys.argv[4]) - 1]
outputs = []
own.register_forward_hook(lambda module, inputs, output: outputs.append(output[0].numpy()))
with torch.no_grad():
    tokens = model.vqvae.encode(torch.from_numpy(samples)[None, :, None])[2]
    labels = torch.tensor([[62 * 44100, 0, 0, 0, 0, -1, -1, -1, -1]])
    timing, start, lyrics = prior.get_cond(None, prior.get_metadata(labels, 0, 62 * 44100, 0))
    prior.prior(tokens, timing, start, prior.get_encoder_states(lyrics))
np.save(sys.argv[3], np.repeat(outputs[0], 128, axis=0))  # one row a sample
"""


@pytest.mark.slow
def test_the_real_model_is_read_at_the_layer_that_is_named(tmp_path: Path) -> None:
    source = save_tiny_jukebox(tmp_path / "weights", width=32)
    process = JukeboxProcess(jukebox_python(), OPTIONS | {"source": str(source), "layer": 66, "dim": 32})
    samples = np.random.default_rng(0).normal(0, 0.3, process.samples).astype(np.float32)
    found = process.activations(samples)
    process.close()
    np.save(tmp_path / "samples.npy", samples)
    run(REFERENCE, str(source), str(tmp_path / "samples.npy"), str(tmp_path / "out.npy"), "66")
    rows = np.load(tmp_path / "out.npy")
    frames = len(samples) // SAMPLES_PER_FRAME
    expected = rows[: frames * SAMPLES_PER_FRAME].reshape(frames, SAMPLES_PER_FRAME, 32).mean(1)
    assert found.std(axis=0).min() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_other_real_weights_are_refused(tmp_path: Path) -> None:
    source = save_tiny_jukebox(tmp_path / "weights", width=32)
    seconds = 0.5
    audio = Audio(np.zeros(round(seconds * SAMPLE_RATE), np.float32), SAMPLE_RATE, seconds, "")
    with pytest.raises(InvalidArtifact, match="width 4800, got width 32"):
        JukeboxEncoder(source, jukebox_python()).encode(audio)
