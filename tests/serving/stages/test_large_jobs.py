"""Long renderings in child processes: what they give back, who waits behind whom, and what is left of them."""

import asyncio
import os
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from waiting import wait_until

from choreo.errors import BackendUnavailable, DeadlineExceeded, NonFiniteOutput
from choreo.motion.formats.npz import read_npz
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.results import SampleScore, SamplingResult
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages import finisher
from serving.stages.finisher import Finisher
from serving.stages.large_jobs import EACH, WORKER

CHANNELS = 66
LONG = 20_000
"""Frames that take minutes to draw."""


def wanted(fmt: str, seconds: float = 60) -> MotionRequest:
    fields = {"text_prompt": "a waltz", "format": fmt, "timeout": seconds}
    return validated_request(parse_fields(fields), Attachments(), Settings())


def features(frames: int) -> SamplingResult:
    standing = np.zeros((frames, CHANNELS), np.float32)
    standing[:, 2] = 0.95
    rng = np.random.default_rng(0)
    standing[:, 3:] = rng.normal(0, 0.2, CHANNELS - 3)
    return SamplingResult(standing, "fake", 30, {})


def workers() -> list[psutil.Process]:
    """Processes that finish motions for this one; a database of other tests may live beside them."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if WORKER in child.cmdline():
                found.append(child)
    return found


def children() -> list[psutil.Process]:
    """Workers that live, and what they have started."""
    found = [process for worker in workers() for process in (worker, *worker.children(recursive=True))]
    return [p for p in found if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


async def until(condition, seconds: float = 60) -> None:
    await asyncio.to_thread(wait_until, condition, seconds)


def left_behind() -> list[Path]:
    """Folders of this process's children."""
    return list(Path(tempfile.gettempdir()).glob(f"choreo-*-{os.getpid()}-*"))


def is_painting() -> bool:
    return any("ffmpeg" in process.name() for process in children())


def test_a_process_gives_what_a_thread_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both() -> tuple[bytes, bytes]:
        stage, request, sampled = Finisher(), wanted("npz"), features(60)
        try:
            here = await stage.deliver(request, sampled, {"seed": 3})
            monkeypatch.setattr(finisher, "QUICK_S", 0.0)
            there = await stage.deliver(request, sampled, {"seed": 3})
            with pytest.raises(NonFiniteOutput):
                await stage.deliver(request, SamplingResult(sampled.features * np.nan, "fake", 30, {}), {})
        finally:
            stage.close()
        return here.body, there.body

    here, there = map(read_npz, asyncio.run(both()))
    np.testing.assert_array_equal(here.positions, there.positions)
    assert here.meta == there.meta


def test_films_of_callers_who_left_are_not_rendered_on() -> None:
    async def run() -> None:
        stage = Finisher()
        films = [asyncio.create_task(stage.deliver(wanted("mp4"), features(9000), {})) for _ in range(EACH + 1)]
        try:
            await until(is_painting)
            for film in films:
                film.cancel()
            assert all(
                isinstance(e, asyncio.CancelledError) for e in await asyncio.gather(*films, return_exceptions=True)
            )
            await until(lambda: not children(), 5)
            assert not left_behind()
        finally:
            stage.close()

    asyncio.run(run())


def test_a_short_film_does_not_wait_for_long_ones() -> None:
    async def run() -> None:
        stage = Finisher(ready=True)
        await stage.warm_up()
        films = [asyncio.create_task(stage.deliver(wanted("mp4"), features(LONG), {})) for _ in range(EACH + 1)]
        try:
            await until(is_painting)
            short = await stage.deliver(wanted("mp4"), features(150), {})
            assert short.body[4:8] == b"ftyp"
            assert (await stage.deliver(wanted("bvh"), features(150), {})).body.startswith(b"HIERARCHY")
            assert not any(film.done() for film in films)
        finally:
            stage.close()
        assert not children()
        ended = await asyncio.gather(*films, return_exceptions=True)
        assert all(isinstance(film, BackendUnavailable) for film in ended), ended
        assert not left_behind()

    asyncio.run(run())


def test_a_deadline_ends_a_film(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        stage = Finisher()
        try:
            with pytest.raises(DeadlineExceeded):
                await stage.deliver(wanted("mp4", 2.0), features(LONG), {})
            await until(lambda: not children(), 5)
        finally:
            stage.close()

    asyncio.run(run())


def test_a_process_that_is_killed_fails_its_own_request_alone() -> None:
    async def run() -> None:
        stage = Finisher()
        film = asyncio.create_task(stage.deliver(wanted("mp4"), features(9000), {}))
        try:
            await until(is_painting)
            workers()[0].kill()
            with pytest.raises(BackendUnavailable):
                await film
            assert (await stage.deliver(wanted("mp4"), features(150), {})).body
        finally:
            stage.close()

    asyncio.run(run())


def test_long_samples_are_measured_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    request = replace(wanted("npz"), num_samples=2)
    samples = [features(60), replace(features(60), features=0.5 * features(60).features)]

    async def run() -> tuple[list[SampleScore | None], list[SampleScore | None]]:
        stage = Finisher()
        here = await stage.score(request, samples)
        monkeypatch.setattr(finisher, "QUICK_S", 0.0)
        there = await stage.score(request, samples)
        stage.close()
        return here, there

    here, there = asyncio.run(run())
    assert here == there
    assert [each and each.seed for each in here] == request.seeds
    assert children() == []


@pytest.mark.parametrize("quick_s", [1.0, 0.0], ids=["threads", "processes"])
def test_samples_that_are_not_finite_have_no_score(monkeypatch: pytest.MonkeyPatch, quick_s: float) -> None:
    monkeypatch.setattr(finisher, "QUICK_S", quick_s)
    request = replace(wanted("npz"), num_samples=4)
    good = features(60)
    broken = replace(good, features=good.features * np.nan)

    async def run() -> list[SampleScore | None]:
        stage = Finisher()
        try:
            with pytest.raises(NonFiniteOutput, match="decoded motion holds NaN"):
                await stage.score(request, [None, broken, broken, None])
            return await stage.score(request, [None, good, broken, good])
        finally:
            stage.close()

    scores = asyncio.run(run())
    assert [each and each.seed for each in scores] == [None, request.seeds[1], None, request.seeds[3]]
    assert [each.chosen for each in scores if each] == [True, False]  # the first of equals
