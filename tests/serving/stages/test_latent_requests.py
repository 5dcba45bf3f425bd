"""Requests to a latent generator through the whole pipeline in this process, with ONNX Runtime and random weights."""

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest
from small_latent import small_config, small_latent, small_latent_spec

from choreo.generators.checkpoint import save_generator
from choreo.generators.constraints import Constraints, key_pose
from choreo.motion.clip import Motion
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.skeleton import BONE_LENGTHS, FPS, PARENTS
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.results import Result
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline


def standing(frames: int) -> Motion:
    root = np.tile([0.0, 0.95, 0.0], (frames, 1))
    return Motion(forward_kinematics(root, np.tile(np.eye(3), (frames, 22, 1, 1))), FPS)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    folder = tmp_path_factory.mktemp("latent")
    network = small_latent(small_config(small_latent_spec(text_dim=384)))
    save_generator(folder / "checkpoint", network.config, network.state_dict())
    settings = Settings(model_repo=folder / "model_repo")

    async def made(pipeline: LocalPipeline, duration: float, **changes: object) -> Result:
        fields = {"text_prompt": "slow waltz", "duration": duration, "num_steps": 3, "seed": 3, "use_rag": False}
        request = validated_request(parse_fields(fields), Attachments(), settings)
        return await pipeline.run(replace(request, deadline=math.inf, **changes))  # type: ignore[arg-type]

    async def every() -> dict[str, Result]:
        pose = key_pose(200, standing(1).positions[0].tolist(), "constraints.key_poses.0")
        async with LocalPipeline(settings, [folder / "checkpoint"]) as pipeline:
            return {
                "short": await made(pipeline, 6.5),
                "again": await made(pipeline, 6.5),
                "long": await made(pipeline, 20.0),
                "started": await made(pipeline, 12.0, start=standing(20)),
                "posed": await made(pipeline, 12.0, constraints=Constraints(key_poses=(pose,))),
            }

    return asyncio.run(every())


@pytest.mark.slow
def test_a_motion_is_rigid_and_a_function_of_its_seed(results: dict[str, Result]) -> None:
    positions = results["short"].motion.positions
    assert positions.shape == (195, 22, 3)
    bones = np.linalg.norm(positions[:, 1:] - positions[:, list(PARENTS[1:])], axis=-1)
    np.testing.assert_allclose(bones, np.tile(BONE_LENGTHS[1:], (195, 1)), atol=1e-4)
    np.testing.assert_array_equal(results["again"].motion.positions, positions)


@pytest.mark.slow
def test_rows_of_all_three_graphs_are_counted(results: dict[str, Result]) -> None:
    assert results["short"].rows == {"encoder": 0, "denoiser": 6, "decoder": 1}
    assert results["long"].rows == {"encoder": 0, "denoiser": 3 * 2 * 3, "decoder": 3}
    assert results["started"].rows == {"encoder": 1, "denoiser": 2 * 2 * 3, "decoder": 2}


@pytest.mark.slow
def test_what_is_given_is_met(results: dict[str, Result]) -> None:
    started, posed = results["started"].motion.positions, results["posed"].motion.positions
    np.testing.assert_allclose(started[:20], standing(20).positions, atol=0.02)
    np.testing.assert_allclose(posed[200], standing(1).positions[0], atol=0.02)
