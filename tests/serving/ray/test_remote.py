"""Replicas and handles derived from a contract, with handles that do what a test tells them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError

from choreo.errors import BackendUnavailable, InvalidInput
from serving.errors import Overloaded
from serving.pipeline.contracts import EncodeStage, FinishStage, RetrieveStage, SampleStage
from serving.ray.remote import Failed, call, outcome, remote, replica_class, stage_methods

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


def test_a_deployment_that_is_down_is_not_asked_again() -> None:
    method = Method(DeploymentUnavailableError("x"), 3)
    with pytest.raises(BackendUnavailable, match="down"):
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


CONTRACTS = {
    EncodeStage: {"encode", "warm_up"},
    RetrieveStage: {"retrieve", "search", "library", "warm_up"},
    SampleStage: {"models", "sample", "warm_up"},
    FinishStage: {"finish", "deliver", "warm_up"},
}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_handle_has_the_methods_of_the_contract_and_passes_arguments_on(contract: type) -> None:
    assert set(stage_methods(contract)) == CONTRACTS[contract]

    async def run() -> None:
        methods = {name: Method(f"{name} done") for name in CONTRACTS[contract]}
        stage = remote(contract, Handle(**methods))  # type: ignore[arg-type]
        for name, method in methods.items():
            assert await getattr(stage, name)(1, "two") == f"{name} done"
            assert method.arguments == [(1, "two")]
        assert not hasattr(stage, "close")

    asyncio.run(run())


def test_an_error_of_a_stage_crosses_from_replica_to_caller() -> None:
    class FakeStage:
        """An encoder that refuses, and one defect."""

        def __init__(self, field: str) -> None:
            self._field = field

        async def encode(self, request: Any, spec: Any) -> Any:
            raise InvalidInput(self._field, f"{request} does not fit {spec}")

        async def warm_up(self, spec: Any) -> None:
            raise ZeroDivisionError

    async def run() -> None:
        replica: Any = replica_class(EncodeStage, FakeStage)("audio")
        assert type(replica).__name__ == "EncodeStageReplica"
        answer = await replica.encode("a song", "a spec")
        assert isinstance(answer, Failed)
        stage = remote(EncodeStage, Handle(encode=Method(answer), warm_up=Method()))  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="a song does not fit a spec") as caught:
            await stage.encode("a song", "a spec")
        assert caught.value.field == "audio"
        with pytest.raises(ZeroDivisionError):
            await replica.warm_up("a spec")

    asyncio.run(run())


def test_errors_of_ours_are_returned_and_others_raised() -> None:
    async def fail(error: Exception) -> None:
        raise error

    answer = asyncio.run(outcome(fail(InvalidInput("audio", "is corrupt"))))
    assert isinstance(answer, Failed)
    assert answer.error.args == ("audio", "is corrupt")
    with pytest.raises(ZeroDivisionError):
        asyncio.run(outcome(fail(ZeroDivisionError())))
