"""Requests to a composite generator through the pipeline in this process, with ONNX Runtime and random weights."""

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_composite import save_small_composite

from choreo.motion.skeleton import BONE_LENGTHS, PARENTS
from choreo.music.synth import synthesize_song, write_wav
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.results import Result
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    folder = tmp_path_factory.mktemp("composite")
    save_small_composite(folder / "checkpoint", text_dim=384)
    write_wav(folder / "song.wav", *synthesize_song(120.0, 8.0)[:2])
    song = (folder / "song.wav").read_bytes()
    settings = Settings(model_repo=folder / "model_repo")

    async def made(pipeline: LocalPipeline, audio: bytes | None = None, **changes: object) -> Result:
        fields = {"text_prompt": "slow waltz", "num_steps": 3, "seed": 3, "use_rag": False, **changes}
        request = validated_request(parse_fields(fields), Attachments(audio), settings)
        return await pipeline.run(replace(request, deadline=math.inf))

    async def every() -> dict[str, Result]:
        async with LocalPipeline(settings, [folder / "checkpoint"]) as pipeline:
            alone = await made(pipeline, duration=6.5)
            several = [made(pipeline, duration=6.5), made(pipeline, duration=4.0, seed=9), made(pipeline, song, seed=4)]
            again, other, danced = await asyncio.gather(*several)
            long = await made(pipeline, duration=20.0, num_samples=2, num_steps=2)
            return {"alone": alone, "again": again, "other": other, "danced": danced, "long": long}

    return asyncio.run(every())


def test_a_motion_is_rigid_and_does_not_depend_on_its_company(results: dict[str, Result]) -> None:
    positions = results["alone"].motion.positions
    assert positions.shape == (195, 22, 3)
    bones = np.linalg.norm(positions[:, 1:] - positions[:, list(PARENTS[1:])], axis=-1)
    np.testing.assert_allclose(bones, np.tile(BONE_LENGTHS[1:], (195, 1)), atol=1e-4)
    np.testing.assert_allclose(results["again"].motion.positions, positions, atol=1e-3)
    assert results["again"].motion.meta["key_poses"] == results["alone"].motion.meta["key_poses"]


def test_rows_of_all_graphs_are_counted(results: dict[str, Result]) -> None:
    assert results["alone"].rows == {"gpt": 49, "decoder": 8, "conditioner": 2, "denoiser": 3 * 2}
    assert results["long"].rows["gpt"] == 2 * 150
    assert results["long"].num_frames == 600


def test_the_metadata_says_where_the_key_poses_are(results: dict[str, Result]) -> None:
    """On the beats of a song, and every sixteenth frame without one."""
    assert results["alone"].motion.meta["key_poses"] == {"fps": 30, "frames": list(range(0, 195, 16))}
    frames = np.array(results["danced"].motion.meta["key_poses"]["frames"])
    assert np.median(np.diff(frames)) == pytest.approx(15, abs=1)


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    from choreo.errors import InvalidArtifact

    save_small_composite(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"broken")

    async def opened() -> None:
        async with LocalPipeline(Settings(model_repo=tmp_path / "repository"), [tmp_path]):
            pass

    with pytest.raises(InvalidArtifact, match="small-composite"):
        asyncio.run(opened())
