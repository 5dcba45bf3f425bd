"""The deployments' classes without Ray."""

import asyncio
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_phrases import WordEncoder
from tiny_generator import tiny_spec

from choreo.errors import BackendUnavailable, DeadlineExceeded, InvalidArtifact, InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.formats import Format
from choreo.music.synth import synthesize_song, write_wav
from serving.pipeline.contracts import Conditioning, LibraryFacts, RetrievalResult, SearchResult
from serving.pipeline.request import Attachments, parse_fields, validated_request
from serving.ray import replicas
from serving.ray.replicas import Failed, RetrieverReplica, SamplerReplica, WatchedEngine, outcome, render
from serving.settings import Settings
from serving.util.threads import Threads


class Engine:
    """Remembers what was inferred; `down` makes it fail."""

    def __init__(self, down: bool = False) -> None:
        self.down = down
        self.rows: list[tuple[str, int]] = []

    async def specs(self) -> dict[str, Any]:
        return {"tiny": tiny_spec()}

    async def instances(self) -> int:
        return 1

    async def infer(
        self, graph: str, inputs: dict[str, Any], *, deadline: float | None = None, whole: bool = False
    ) -> dict[str, Any]:
        assert deadline is not None
        assert deadline <= time.monotonic() + replicas.CANARY_S
        if self.down:
            raise BackendUnavailable("down")
        self.rows.append((graph, len(next(iter(inputs.values())))))
        return {}


def sampler(engine: Engine) -> SamplerReplica:
    replica = SamplerReplica(["127.0.0.1:1"], Settings(sampler_concurrency=2))
    replica._engine = WatchedEngine(engine)  # type: ignore[arg-type]
    return replica


def test_errors_of_ours_are_returned_and_others_raised() -> None:
    async def fail(error: Exception) -> None:
        raise error

    answer = asyncio.run(outcome(fail(InvalidInput("audio", "is corrupt"))))
    assert isinstance(answer, Failed)
    assert answer.error.args == ("audio", "is corrupt")
    with pytest.raises(ZeroDivisionError):
        asyncio.run(outcome(fail(ZeroDivisionError())))


def test_a_cancelled_caller_leaves_the_queue_of_threads() -> None:
    async def run() -> list[int]:
        threads, done, release = Threads(1), [], threading.Event()
        first = asyncio.create_task(threads.run(release.wait, 10))
        await asyncio.sleep(0)
        second = asyncio.create_task(threads.run(done.append, 2))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        release.set()
        await first
        await threads.run(done.append, 3)
        return done

    assert asyncio.run(run()) == [3]


def test_the_canary_goes_through_both_graphs() -> None:
    engine = Engine()
    assert asyncio.run(sampler(engine).canary()) is None
    assert engine.rows == [("conditioner", 1), ("denoiser", 1)]
    answer = asyncio.run(sampler(Engine(down=True)).canary())
    assert isinstance(answer, Failed)
    assert isinstance(answer.error, BackendUnavailable)


def test_a_server_that_says_nothing_fails_the_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Engine):
        async def specs(self) -> dict[str, Any]:
            await asyncio.Event().wait()
            return {}

    monkeypatch.setattr(replicas, "CANARY_S", 0.05)
    answer = asyncio.run(sampler(Silent()).canary())
    assert isinstance(answer, Failed)
    assert isinstance(answer.error, DeadlineExceeded)


def test_real_work_is_a_canary_itself() -> None:
    async def run() -> None:
        engine = Engine()
        watched = WatchedEngine(engine)  # type: ignore[arg-type]
        await watched.canary(60)
        assert len(engine.rows) == 2
        await watched.canary(60)
        assert len(engine.rows) == 2
        await watched.canary(0)
        assert len(engine.rows) == 4
        engine.down = True
        await watched.canary(60)
        with pytest.raises(BackendUnavailable):
            await watched.canary(0)

    asyncio.run(run())


def test_health_costs_a_canary_only_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        engine = Engine()
        replica = sampler(engine)
        await replica.check_health()
        assert engine.rows == []
        monkeypatch.setattr(replicas, "IDLE_S", 0.0)
        await replica.check_health()
        assert len(engine.rows) == 2
        engine.down = True
        with pytest.raises(BackendUnavailable):
            await replica.check_health()

    asyncio.run(run())


def test_a_few_are_denoised_at_a_time_and_canaries_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        replica, release = sampler(Engine()), asyncio.Event()
        full = asyncio.Event()
        inside, most = 0, 0

        async def hold(*args: Any) -> None:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            if inside == 2:
                full.set()
            await release.wait()
            inside -= 1

        monkeypatch.setattr(replica._sampler, "sample", hold)
        jobs = [asyncio.create_task(replica.sample(None, None, None)) for _ in range(5)]  # type: ignore[arg-type]
        await full.wait()
        assert await replica.canary() is None
        release.set()
        await asyncio.gather(*jobs)
        assert (inside, most) == (0, 2)

    asyncio.run(run())


def test_the_retriever_answers_and_leaves_nothing_behind(libraries: tuple[Path, Path]) -> None:
    async def run() -> None:
        replica = RetrieverReplica(Settings(phrases=libraries[0], phrases_poll_s=0.001))
        words = tiny_spec().model_copy(update={"text_encoder": "words", "text_dim": 48})
        assert await replica.warm_up(words) is None
        facts = await replica.library()
        assert isinstance(facts, LibraryFacts)
        job = validated_request(parse_fields({"text_prompt": "a dancer kicks"}), Attachments(), Settings())
        vector = WordEncoder().encode(["a dancer kicks"])[0]
        rhythm = np.zeros((90, 4), np.float32)
        conditioning = Conditioning(90, None, rhythm, vector, np.zeros(0), 0.0, None, None, "words")
        retrieved, found = await asyncio.gather(
            replica.retrieve(job, conditioning), replica.search(job, conditioning, 3)
        )
        assert isinstance(retrieved, RetrievalResult)
        assert isinstance(found, SearchResult)
        assert retrieved.prior is not None
        assert {p.id for p in retrieved.prior.phrases} <= {hit.phrase.id for hit in found.hits}
        failed = await replica.search(job, replace(conditioning, text_encoder="minilm"), 3)
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, InvalidArtifact)
        replica.__del__()
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        assert isinstance(await replica.search(job, conditioning, 3), Failed)

    asyncio.run(run())


def test_a_film_has_the_song_as_its_sound(tmp_path: Path) -> None:
    samples, rate, _ = synthesize_song(120.0, 1.0)
    write_wav(tmp_path / "song.wav", samples, rate)
    motion = Motion(np.zeros((6, 22, 3), np.float32))
    film = render(motion, Format.MP4, (tmp_path / "song.wav").read_bytes(), "a title")
    assert film[4:8] == b"ftyp"
    assert b"mp4a" in film
    assert b"mp4a" not in render(motion, Format.MP4, None, "")
    with pytest.raises(InvalidInput) as caught:
        render(motion, Format.MP4, b"no song", "")
    assert caught.value.field == "audio"
    assert str(tmp_path.parent) not in str(caught.value)
