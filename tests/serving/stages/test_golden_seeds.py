"""Motions of fixed seeds, compared with figures that were stored when sampling or finishing last changed on purpose.

They pin everything between a request and its motion: encoders, retrieval and prior, noise, samplers, guidance, windows
and finishing. The figures were taken with the compiled engine of one processor. Another engine or processor differs by
rounding, up to 1.2e-5 m over all of these motions.
"""

import asyncio
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from choreo.music.synth import synthesize_song, write_wav
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline

FIGURES = json.loads((Path(__file__).parents[2] / "golden_seeds.json").read_text())
JOINTS = [0, 4, 5, 7, 8, 12, 15, 20, 21]
TOLERANCE_M = 2e-5
CASES: dict[str, dict[str, Any]] = {
    "prompt": {"text_prompt": "slow waltz with wide turns", "seed": 3, "duration": 6.5},
    "fast": {"text_prompt": "salsa dance", "seed": 11, "preset": "fast", "duration": 4.0},
    "song": {"seed": 5, "preset": "fast"},
    "long": {"text_prompt": "a dancer performs a cha-cha", "seed": 21, "preset": "draft", "duration": 14.0},
    "ddpm": {"text_prompt": "rumba", "seed": 8, "sampler": "ddpm", "num_steps": 12, "use_rag": False},
    "plain": {
        "text_prompt": "tango", "seed": 8, "guidance_scale": 1.0, "num_steps": 10, "smooth": False,
        "bone_lengths": False, "foot_lock": False,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def motions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    song = tmp_path_factory.mktemp("golden") / "song.wav"
    samples, rate, _ = synthesize_song(120.0, 8.0)
    write_wav(song, samples, rate)
    settings = Settings()

    async def made() -> dict[str, np.ndarray]:
        out = {}
        async with LocalPipeline(settings) as pipeline:
            for name, fields in CASES.items():
                parts = Attachments(audio=song.read_bytes()) if name == "song" else Attachments()
                request = replace(validated_request(parse_fields(fields), parts, settings), deadline=math.inf)
                out[name] = (await pipeline.run(request)).motion.positions
        return out

    return asyncio.run(made())


@pytest.mark.parametrize("name", CASES)
def test_a_seed_gives_the_motion_that_it_gave(motions: dict[str, np.ndarray], name: str) -> None:
    expected, positions = FIGURES[name], motions[name]
    assert len(positions) == expected["frames"]
    for frame, joints in expected["positions"].items():
        np.testing.assert_allclose(positions[int(frame)][JOINTS], joints, rtol=0, atol=TOLERANCE_M)
