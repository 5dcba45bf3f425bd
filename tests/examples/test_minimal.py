"""The algorithm on one page makes the dance that the pipeline makes."""

import asyncio
import importlib.util
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from choreo.generators.checkpoint import load_generator
from choreo.motion.formats.bvh import read_bvh
from choreo.motion.formats.npz import read_npz
from choreo.motion.representation import decode
from choreo.music.synth import synthesize_song, write_wav
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "minimal.py"
PROMPT = "a dancer performs a rumba"
SEED, STEPS = 11, 4
TOLERANCE = 1e-3
"""Metres: the two evaluate the same network with different kernels."""


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("minimal", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


minimal = load_script()


class Dance(NamedTuple):
    """Joint positions (T, 22, 3), metres: as decoded, and rigid on the floor before the feet are locked."""

    decoded: NDArray[np.floating]
    before_lock: NDArray[np.float32]


def by_pipeline(song: Path) -> Dance:
    """The dance of the in-process pipeline, without a retrieved prior."""
    fields = {"text_prompt": PROMPT, "seed": SEED, "num_steps": STEPS, "use_rag": False}
    settings = Settings()
    request = validated_request(parse_fields(fields), Attachments(audio=song.read_bytes()), settings)
    request = replace(request, deadline=math.inf)  # a first export may take longer

    async def run() -> Dance:
        async with LocalPipeline(settings) as pipeline:
            stages = pipeline._stages
            encoded = await stages.encoder.encode(request, pipeline.spec)
            sampled = await stages.sampler.sample(request, encoded.conditioning, None)
            _, before_lock = await stages.finisher.finish(request, sampled, {})
        return Dance(decode(sampled.features, sampled.fps), before_lock[0])

    return asyncio.run(run())


def by_page(song: Path) -> Dance:
    """The dance of the page's functions, called as its `main` calls them."""
    generator = load_generator(minimal.WEIGHTS)
    encoded = minimal.encode(generator, song, PROMPT)
    starts = minimal.window_starts(len(encoded.music), generator.spec.window)
    constant = minimal.condition(generator, encoded, starts)
    features = minimal.denoise(generator, constant, starts, STEPS, SEED, minimal.GUIDANCE_SCALE)
    features = features[: len(encoded.music)]
    decoded = minimal.joints(features, generator.spec.fps)
    return Dance(decoded, minimal.finished(features, generator.spec.fps).before_lock)


@pytest.mark.parametrize("seconds", [196 / 30, 4.0, 14.0], ids=["one window", "part of a window", "three windows"])
def test_the_page_makes_the_dance_of_the_pipeline(seconds: float, tmp_path: Path) -> None:
    samples, sample_rate, _ = synthesize_song(minimal.TEMPO, seconds)
    write_wav(tmp_path / "song.wav", samples, sample_rate)
    page, pipeline = by_page(tmp_path / "song.wav"), by_pipeline(tmp_path / "song.wav")
    assert len(page.decoded) == round(30 * seconds)
    assert np.ptp(page.decoded, axis=0).max() > 0.1, "a figure that stands still would agree with anything"
    for mine, theirs in zip(page, pipeline, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=TOLERANCE)


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_the_script_writes_files_that_can_be_read(tmp_path: Path) -> None:
    done = run_script("--prompt", PROMPT, "--seconds", "2", "--steps", "2", "--seed", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    motion = read_npz(tmp_path / "motion.npz")
    assert motion.num_frames == 60
    assert motion.rotations is not None
    assert (motion.meta["seed"], motion.meta["prompt"]) == (1, PROMPT)
    np.testing.assert_allclose(read_bvh(tmp_path / "motion.bvh").positions, motion.positions, atol=1e-3)
    assert (tmp_path / "song.wav").is_file()


@pytest.mark.parametrize("words", [("--seconds", "0"), ("--steps", "0"), ("--seed", "-1"), ("--seconds", "nan")])
def test_numbers_out_of_range_are_refused(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        minimal.main(list(words))
    assert ended.value.code == 2
    assert f"{words[0]} must be between" in capsys.readouterr().err


def test_the_page_is_a_page() -> None:
    assert len(SCRIPT.read_text().splitlines()) <= 300
