"""A transformer on the text-to-motion lab's representation and schedule, trained for a few steps, danced to the end."""

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest
from odd_songs import RATE, wav

from choreo.generators.checkpoint import load_generator
from choreo.generators.dit.config import DiTConfig
from choreo.generators.dit.recipe import DiTRecipe
from choreo.models.conditioner_config import ConditionerConfig
from choreo.motion.clip import Motion
from choreo.motion.formats.npz import npz_bytes
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.skeleton import BONE_LENGTHS, FPS, PARENTS
from choreo.training.run import train
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.results import Result
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline

START = Motion(
    forward_kinematics(np.tile([0.0, 0.95, 0.0], (20, 1)), np.tile(np.eye(3), (20, 22, 1, 1))).astype(np.float32), FPS
)


def song() -> bytes:
    """Clicks, two a second."""
    samples = np.zeros(4 * RATE)
    for beat in range(8):
        first = beat * RATE // 2
        samples[first : first + 200] = 0.8 * np.sin(np.arange(200) * 0.4)
    return wav(samples)


def recipe() -> DiTRecipe:
    return DiTRecipe(
        name="lab",
        architecture="dit-adaln",
        representation="lab-199",
        schedule="cosine_squared",
        conditioner=ConditionerConfig(context_dim=16, num_heads=2),
        denoiser=DiTConfig(channels=199, width=16, layers=1, num_heads=2, hidden=24, context_dim=16, patch_frames=4),
        data={"masks": "random"},
    ).smoke()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    folder = tmp_path_factory.mktemp("lab")
    checkpoint = train(recipe(), None, folder / "run")
    assert load_generator(checkpoint).spec.representation == "lab-199"
    settings = Settings(model_repo=folder / "model_repo")

    async def made(pipeline: LocalPipeline, **fields: object) -> Result:
        given = {"text_prompt": "a slow waltz", "duration": 4.0, "num_steps": 4, "seed": 3, "use_rag": False} | fields
        parts = Attachments(audio=song(), start=npz_bytes(START))
        request = validated_request(parse_fields(given), parts, settings)
        return await pipeline.run(replace(request, deadline=math.inf))

    async def every() -> dict[str, Result]:
        pose = {"frame": 90, "pose": START.positions[0].tolist()}
        async with LocalPipeline(settings, [checkpoint]) as pipeline:
            return {
                "ddim": await made(pipeline, sampler="ddim"),
                "ddpm": await made(pipeline, sampler="ddpm"),
                "posed": await made(pipeline, constraints={"keyframes": [pose]}),
            }

    return asyncio.run(every())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddim", "ddpm", "posed"])
def test_text_song_and_a_start_become_a_rigid_motion_that_begins_with_the_start(
    results: dict[str, Result], name: str
) -> None:
    positions = results[name].motion.positions
    assert positions.shape == (120, 22, 3)
    bones = np.linalg.norm(positions[:, 1:] - positions[:, list(PARENTS[1:])], axis=-1)
    np.testing.assert_allclose(bones, np.tile(BONE_LENGTHS[1:], (120, 1)), atol=1e-4)
    np.testing.assert_allclose(positions[:20], START.positions, atol=0.03)


@pytest.mark.slow
def test_a_key_pose_is_met(results: dict[str, Result]) -> None:
    at = results["posed"].motion.positions[90]
    np.testing.assert_allclose(at - at[0] * (1, 0, 1), START.positions[0], atol=0.03)
