import asyncio
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from choreo.data.synthetic.clips import synthetic_clips
from choreo.errors import BackendUnavailable, InvalidInput
from choreo.motion.skeleton import WINDOW
from serving.evaluation.dancers import DanceOptions, Server, server
from serving.evaluation.stretches import windows

STRETCH = windows(synthetic_clips(1))[0]


def test_a_server_is_asked_for_what_the_stretch_is(ingress: Any, stages: Any) -> None:
    async def run() -> np.ndarray:
        async with ingress.connect() as client:
            dance = await Server(client).dance(
                STRETCH, DanceOptions("fast", 7, 1.5, use_rag=False, finished=False), seed=11
            )
            return dance.performance.single().positions

    assert asyncio.run(run()).shape == (WINDOW, 22, 3)
    (job,) = stages.requests
    assert (job.text, job.seed, job.sampler, job.num_steps, job.guidance_scale) == (
        STRETCH.prompt, 11, "dpm++2m", 7, 1.5,
    )  # fmt: skip
    assert (job.num_frames, job.use_rag, job.finish.foot_lock, job.finish.smooth) == (WINDOW, False, False, False)
    np.testing.assert_array_equal(job.features, STRETCH.music)


def test_a_stretch_without_music_sends_none(ingress: Any, stages: Any) -> None:
    async def run() -> None:
        async with ingress.connect() as client:
            await Server(client).dance(replace(STRETCH, music=None), DanceOptions(), seed=0)

    asyncio.run(run())
    assert stages.requests[0].features is None


def test_what_a_server_refuses_is_told(ingress: Any) -> None:
    async def run() -> None:
        async with ingress.connect(max_steps=10) as client:
            await Server(client).dance(STRETCH, DanceOptions(), seed=0)

    with pytest.raises(BackendUnavailable, match=r"answered 422.*num_steps"):
        asyncio.run(run())


def test_a_server_that_is_not_there_is_named() -> None:
    async def run() -> None:
        async with httpx.AsyncClient(base_url="http://127.0.0.1:9") as client:
            await Server(client).dance(STRETCH, DanceOptions(), seed=0)

    with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:9 does not answer"):
        asyncio.run(run())


def test_an_address_must_be_http() -> None:
    async def run() -> None:
        async with server("ftp://somewhere"):
            pass

    with pytest.raises(InvalidInput, match="url"):
        asyncio.run(run())
