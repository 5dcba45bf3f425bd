"""A composite generator on the real tritonserver, next to a U-Net: the motion of this process, and shared calls."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_composite import save_small_composite
from small_network import save_small

from choreo.generators.base import Conditioning
from export.build import build_repository
from serving.engines.base import Engine
from serving.engines.leases import Leases
from serving.engines.local import LocalEngine
from serving.engines.triton import TritonEngine
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.results import SamplingResult
from serving.pipeline.validation import validated_request
from serving.sampling.runner import executor
from serving.settings import Settings
from serving.stages.context_cache import ContextCache
from serving.stages.sampler import Sampler
from serving.triton.launch import TritonSettings
from serving.triton.supervisor import TritonServer

COMPOSITE, UNET = "small-composite", "small"
FRAMES = 120

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    for checkpoint in (save_small_composite(folder / COMPOSITE, text_dim=384), save_small(folder / UNET)):
        build_repository(checkpoint, folder / "model_repo")
    return folder / "model_repo"


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[TritonServer]:
    with TritonServer(root, TritonSettings(canary_period_s=3600)) as server:
        yield server
        assert server.restarts == 0


def heard(seed: int) -> Conditioning:
    rng = np.random.default_rng(seed)
    music = rng.normal(size=(FRAMES, 35)).astype(np.float32)
    return Conditioning(FRAMES, music, beats=np.arange(0.25, 4, 0.5), onset=np.ones(FRAMES, np.float32))


async def danced(sampler: Sampler, model: str, seed: int) -> SamplingResult:
    fields: dict[str, Any] = {
        "text_prompt": "waltz", "seed": seed, "num_steps": 3, "guidance_scale": 1.0, "timeout": 200.0, "model": model,
    }  # fmt: skip
    return await sampler.sample(validated_request(parse_fields(fields), Attachments(), Settings()), heard(seed), None)


async def every(engine: Engine, leases: Leases | None = None) -> list[SamplingResult]:
    sampler = Sampler(engine, executor(Settings()), ContextCache(1 << 20), leases=leases)
    jobs = [danced(sampler, model, seed) for model in (COMPOSITE, UNET) for seed in range(4)]
    try:
        return await asyncio.wait_for(asyncio.gather(*jobs), 240)
    finally:
        await sampler.close()


def test_a_composite_dances_beside_a_u_net(server: TritonServer, root: Path) -> None:
    """All at once, as in this process; the tokens of several songs share calls."""

    async def run() -> None:
        remote, local = TritonEngine([server.grpc_url]), LocalEngine(root, [COMPOSITE, UNET], threads=1)
        try:
            assert set(await remote.models()) == {COMPOSITE, UNET}
            made = await every(remote, Leases(server.leases))
            expected = await every(local)
            executions = await remote.statistics()
        finally:
            await remote.close()
            await local.close()
        for ours, theirs in zip(made, expected, strict=True):
            assert ours.model == theirs.model
            np.testing.assert_allclose(ours.features, theirs.features, atol=1e-3)
        for result in made[:4]:
            assert result.key_poses is not None
            assert {8, 22, 38} <= set(result.key_poses.frames.tolist())
            assert result.rows["gpt"] == FRAMES // 4
        rows = Counter[str]()
        for result in made[:4]:
            rows.update(result.rows)
        assert executions[f"{COMPOSITE}.gpt"] >= rows["gpt"]
        counts = sum((result.steps.batches for result in made), 0), sum(sum(r.rows.values()) for r in made)
        assert counts[0] < counts[1]

    asyncio.run(run())
