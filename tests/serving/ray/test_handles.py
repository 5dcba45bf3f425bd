"""Calls over deployment handles, with handles that do what a test tells them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import BackPressureError, RequestCancelledError

from choreo.errors import BackendUnavailable, InvalidInput
from retrieval.library.embedding import Music
from serving.errors import Overloaded
from serving.pipeline.contracts import Conditioning
from serving.pipeline.request import Attachments, parse_fields, validated_request
from serving.ray.handles import HandleStages, call
from serving.ray.replicas import Failed
from serving.settings import Settings

Answer = Callable[[], Coroutine[Any, Any, Any]]


class Response:
    """What `handle.method.remote()` returns."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.was_cancelled = False

    def __await__(self) -> Any:
        return self._answer().__await__()

    def cancel(self) -> None:
        self.was_cancelled = True


class Method:
    """A method of a handle with one answer per call."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.responses: list[Response] = []
        self.arguments: list[tuple[Any, ...]] = []

    def remote(self, *args: Any) -> Response:
        self.arguments.append(args)
        answer = self._answers.pop(0)
        self.responses.append(Response(answer if callable(answer) else lambda: _give(answer)))
        return self.responses[-1]


async def _give(answer: Any) -> Any:
    if isinstance(answer, BaseException):
        raise answer
    return answer


def test_a_result_is_passed_on() -> None:
    assert asyncio.run(call(Method(3))) == 3
    assert asyncio.run(call(Method(None))) is None


def test_an_error_of_ours_arrives_as_it_was() -> None:
    with pytest.raises(InvalidInput) as caught:
        asyncio.run(call(Method(Failed(InvalidInput("audio", "is corrupt")))))
    assert caught.value.field == "audio"


@pytest.mark.parametrize("loss", [ActorDiedError(), RequestCancelledError("x"), asyncio.CancelledError()])
def test_a_lost_replica_is_replaced_once(loss: BaseException) -> None:
    method = Method(loss, 3)
    assert asyncio.run(call(method)) == 3
    assert len(method.responses) == 2
    with pytest.raises(BackendUnavailable):
        asyncio.run(call(Method(loss, loss, 3)))


def test_a_full_queue_is_not_asked_again() -> None:
    method = Method(BackPressureError(num_queued_requests=1, max_queued_requests=1), 3)
    with pytest.raises(Overloaded):
        asyncio.run(call(method))
    assert len(method.responses) == 1


def test_an_unexpected_error_is_not_asked_again() -> None:
    method = Method(RayTaskError("f", "traceback", ValueError("x")), 3)
    with pytest.raises(RayTaskError):
        asyncio.run(call(method))
    assert len(method.responses) == 1


def test_a_cancelled_caller_cancels_the_call() -> None:
    async def run() -> Method:
        started = asyncio.Event()

        async def hang() -> None:
            started.set()
            await asyncio.Event().wait()

        method = Method(hang, 3)
        task = asyncio.create_task(call(method))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return method

    method = asyncio.run(run())
    assert [response.was_cancelled for response in method.responses] == [True]


class Handle:
    """A handle whose methods are given."""

    def __init__(self, **methods: Method) -> None:
        self.__dict__.update(methods)


def test_models_are_asked_for_once_in_a_while() -> None:
    async def run() -> None:
        spec = object()
        sampler = Handle(models=Method({"a": spec}))
        stages = HandleStages(Handle(), Handle(), sampler, Handle())  # type: ignore[arg-type]
        assert await stages.spec(None) is spec
        assert await stages.spec("a") is spec
        with pytest.raises(InvalidInput) as caught:
            await stages.spec("b" * 1000)
        assert caught.value.field == "model"
        assert len(str(caught.value)) < 100

    asyncio.run(run())


def test_the_retriever_gets_the_query_and_not_the_song() -> None:
    async def run() -> None:
        job = validated_request(parse_fields({"text_prompt": "x"}), Attachments(audio=b"song"), Settings())
        music, rhythm = np.ones((60, 4800), np.float32), np.ones((60, 4), np.float32)
        conditioning = Conditioning(60, music, rhythm, None, np.zeros(0), 120.0, None, Music(120.0))
        retriever = Handle(retrieve=Method("retrieved"), search=Method("found"))
        stages = HandleStages(Handle(), retriever, Handle(), Handle())  # type: ignore[arg-type]
        assert await stages.retrieve(job, conditioning) == "retrieved"
        assert await stages.search(job, conditioning, 3) == "found"
        for method in (retriever.retrieve, retriever.search):  # type: ignore[attr-defined]
            sent_job, sent, *_ = method.arguments[0]
            assert (sent_job.audio, sent.music, len(sent.rhythm)) == (None, None, 0)
            assert sent.heard == Music(120.0)

    asyncio.run(run())


def test_ready_means_that_every_stage_answers() -> None:
    def stages(**sampler: Method) -> HandleStages:
        handles = [Handle(warm_up=Method(None)) for _ in range(3)]
        return HandleStages(handles[0], handles[1], Handle(**sampler), handles[2])  # type: ignore[arg-type]

    asyncio.run(stages(canary=Method(None), models=Method({"a": None})).ready())
    down = Method(Failed(BackendUnavailable("Triton")))
    with pytest.raises(BackendUnavailable):
        asyncio.run(stages(canary=down, models=Method({"a": None})).ready())
