"""What the ingress tells of its stages: counts outlast replicas, and a stage that is away holds nothing up."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from choreo.errors import BackendUnavailable
from serving.http import stage_metrics
from serving.http.metrics import Metrics
from serving.http.stage_metrics import StageWatch
from serving.pipeline.contracts import Stages
from serving.pipeline.figures import CacheFigures, StageFigures

Tell = Callable[[], Awaitable[StageFigures]]


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_metrics, "LOOK_S", 0.0)


def watch(encoder: Tell, sampler: Tell | None = None) -> StageWatch:
    silent = SimpleNamespace()
    stages = (SimpleNamespace(figures=encoder), silent, SimpleNamespace(figures=sampler) if sampler else silent, silent)
    return StageWatch(Stages(*(cast(Any, stage) for stage in stages)))


def series(watching: StageWatch) -> dict[str, float]:
    metrics = Metrics()
    metrics.watch_more(watching)
    lines = [line for line in metrics.text().decode().splitlines() if "_cache" in line or "restarts" in line]
    lines = [line for line in lines if not line.startswith("#") and "_created" not in line]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def songs(replica: str, hits: int, misses: int, size: int) -> StageFigures:
    return StageFigures(replica, {"song": CacheFigures(hits, misses, size)})


def test_counts_go_on_when_a_replica_is_replaced() -> None:
    told = iter([songs("a", 1, 2, 30), songs("a", 5, 3, 40), songs("b", 0, 1, 10), songs("b", 2, 1, 10)])
    sampled = iter([0, 2, 2, 0])  # a new supervisor begins anew, and a counter does not go back

    async def encoder() -> StageFigures:
        return next(told)

    async def sampler() -> StageFigures:
        return StageFigures("s", {"context": CacheFigures(7, 7, 70)}, next(sampled))

    watching = watch(encoder, sampler)
    for _ in range(4):
        asyncio.run(watching.look())
    found = series(watching)
    assert found['choreo_song_cache_total{result="hit"}'] == 5 + 2
    assert found['choreo_song_cache_total{result="miss"}'] == 3 + 1
    assert found["choreo_song_cache_bytes"] == 10
    assert found['choreo_context_cache_total{result="hit"}'] == 7
    assert found['choreo_restarts_total{part="encoder"}'] == 1
    assert found['choreo_restarts_total{part="sampler"}'] == 0
    assert found['choreo_restarts_total{part="finisher"}'] == 0
    assert found['choreo_restarts_total{part="triton"}'] == 2


@pytest.mark.parametrize("error", [BackendUnavailable("down"), ValueError("of Ray")])
def test_a_stage_that_fails_stays_as_it_was(error: Exception) -> None:
    async def encoder() -> StageFigures:
        asked.append(1)
        if len(asked) > 1:
            raise error
        return songs("a", 1, 2, 30)

    asked: list[int] = []
    watching = watch(encoder)
    asyncio.run(watching.look())
    before = series(watching)
    asyncio.run(watching.look())
    assert len(asked) == 2
    assert series(watching) == before
    assert before["choreo_song_cache_bytes"] == 30


def test_a_stage_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_metrics, "PATIENCE_S", 0.01)
    given_up = []

    async def encoder() -> StageFigures:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            given_up.append(1)
            raise
        raise AssertionError

    asyncio.run(watch(encoder).look())
    assert given_up == [1]


def test_many_scrapes_are_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_metrics, "LOOK_S", 1000.0)
    asked = []

    async def encoder() -> StageFigures:
        asked.append(1)
        return StageFigures("a")

    async def walk() -> None:
        watching = watch(encoder)
        await asyncio.gather(*(watching.look() for _ in range(5)))

    asyncio.run(walk())
    assert asked == [1]
