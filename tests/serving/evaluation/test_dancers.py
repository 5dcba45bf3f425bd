import asyncio
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from choreo.client import AsyncClient, Retries
from choreo.data.synthetic.clips import synthetic_clips
from choreo.errors import BackendUnavailable, InvalidInput
from choreo.motion.skeleton import WINDOW
from serving.evaluation.dancers import DanceOptions, Server, server
from serving.evaluation.stretches import windows
from serving.http.ingress import create_app
from serving.settings import Settings

STRETCH = windows(synthetic_clips(1))[0]


def client_of(stages: Any, **settings: Any) -> AsyncClient:
    app = create_app(Settings(**settings), stages.stages())
    return AsyncClient("http://choreo.test", transport=httpx.ASGITransport(app))


def test_a_server_is_asked_for_what_the_stretch_is(stages: Any) -> None:
    async def run() -> np.ndarray:
        async with client_of(stages) as client:
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


def test_changes_count_more_than_the_other_options() -> None:
    plain, changed = (DanceOptions(changes=changes).fields(STRETCH, 3) for changes in ({}, {"foot_lock": False}))
    assert plain["foot_lock"]
    assert changed == plain | {"foot_lock": False}


def test_a_stretch_without_music_sends_none(stages: Any) -> None:
    async def run() -> None:
        async with client_of(stages) as client:
            await Server(client).dance(replace(STRETCH, music=None), DanceOptions(music_guidance=4.0), seed=0)
            await Server(client).dance(STRETCH, DanceOptions(text_guidance=1.5, music_guidance=4.0), seed=0)

    asyncio.run(run())
    silent, heard = stages.requests
    assert silent.features is None
    assert (silent.text_guidance, silent.music_guidance) == (None, None)
    assert (heard.text_guidance, heard.music_guidance) == (1.5, 4.0)


def test_what_a_server_refuses_is_told(stages: Any) -> None:
    async def run() -> None:
        async with client_of(stages, max_steps=10) as client:
            await Server(client).dance(STRETCH, DanceOptions(), seed=0)

    with pytest.raises(InvalidInput, match="num_steps"):
        asyncio.run(run())


def test_a_server_that_is_not_there_is_named() -> None:
    async def run() -> None:
        async with AsyncClient("http://127.0.0.1:9", retries=Retries(lost=0)) as client:
            await Server(client).dance(STRETCH, DanceOptions(), seed=0)

    with pytest.raises(BackendUnavailable, match=r"no server answers at http://127\.0\.0\.1:9"):
        asyncio.run(run())


def test_an_address_must_be_http() -> None:
    async def run() -> None:
        async with server("ftp://somewhere"):
            pass

    with pytest.raises(InvalidInput, match="url"):
        asyncio.run(run())
