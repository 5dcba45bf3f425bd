"""Replicas and handles derived from a contract, with handles that do what a test tells them."""

import asyncio
import pickle
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

import pytest
from opentelemetry.trace import SpanKind
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError
from recorded_spans import id_of, parent_of, recorded_spans

from choreo.errors import BackendUnavailable, InvalidInput
from serving.errors import Overloaded
from serving.pipeline.contracts import EncodeStage, FinishStage, RetrieveStage, SampleStage
from serving.pipeline.figures import CacheFigures, StageFigures
from serving.ray.remote import Failed, call, outcome, remote, replica_class, stage_methods
from serving.util import logs, tracing

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
        self.given: list[dict[str, Any]] = []

    def remote(self, *args: Any, **given: Any) -> Response:
        self.arguments.append(args)
        self.given.append(given)
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
    SampleStage: {"models", "sample", "samples", "warm_up"},
    FinishStage: {"finish", "score", "deliver", "warm_up"},
}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_handle_has_the_methods_of_the_contract_and_passes_arguments_on(contract: type) -> None:
    assert set(stage_methods(contract)) == CONTRACTS[contract]

    async def run() -> None:
        methods = {name: Method(f"{name} done") for name in (*CONTRACTS[contract], "figures")}
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
        stage = remote(EncodeStage, Handle(encode=Method(answer), warm_up=Method(), figures=Method()))  # type: ignore[arg-type]
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


class OtherProcess:
    """A method of a handle whose replica is called with a copy of the arguments, and in a context of its own."""

    def __init__(self, method: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self._method = method

    def remote(self, *args: Any, **given: Any) -> Response:
        copied_args, copied = pickle.loads(pickle.dumps((args, given)))

        async def answer() -> Any:
            called = asyncio.get_running_loop().create_task(self._method(*copied_args, **copied), context=Context())
            return pickle.loads(pickle.dumps(await called))

        return Response(answer)


class FakeSampler:
    """A sampler that keeps what it knows of its caller, and refuses what has no seed."""

    def __init__(self) -> None:
        self.known: list[logs.LogContext] = []

    async def models(self) -> Any:
        self.known.append(logs.context())
        return {}

    async def sample(self, request: Any, conditioning: Any, prior: Any) -> Any:
        self.known.append(logs.context())
        with tracing.span("inside"):
            if request is None:
                raise InvalidInput("seed", "is missing")
        return request

    async def samples(self, request: Any, conditioning: Any, prior: Any) -> Any:
        return [await self.sample(request, conditioning, prior)]

    async def warm_up(self) -> None:
        self.known.append(logs.context())


def connected() -> tuple[FakeSampler, Any]:
    """A sampler, and the stage that calls it in its replica."""
    replica: Any = replica_class(SampleStage, FakeSampler)()
    methods = {name: OtherProcess(getattr(replica, name)) for name in (*CONTRACTS[SampleStage], "figures")}
    return replica.stage, remote(SampleStage, Handle(**methods))  # type: ignore[arg-type]


def test_a_replica_knows_which_request_it_works_for() -> None:
    sampler, stage = connected()

    async def run() -> None:
        await stage.warm_up()
        with logs.about(request_id="r-1", job_id="job-1"):
            await stage.models()
            assert (await stage.figures()).replica
            with logs.about(model="tiny"):
                assert await stage.sample(1, None, None) == 1
        await stage.warm_up()

    asyncio.run(run())
    nothing = logs.LogContext()
    about = logs.LogContext("r-1", "job-1")
    assert sampler.known == [nothing, about, logs.LogContext("r-1", "job-1", "tiny"), nothing]


def test_spans_of_a_replica_are_in_the_trace_of_the_request() -> None:
    _, stage = connected()

    async def run() -> None:
        await stage.warm_up()
        with tracing.root("POST /v1/generate"), tracing.span("sample"):
            await stage.sample(1, None, None)
            with pytest.raises(InvalidInput):
                await stage.sample(None, None, None)

    with recorded_spans() as recorded:
        asyncio.run(run())
    stage_span = recorded.one("sample")
    good, refused = recorded.named("SampleStage/sample")
    assert [parent_of(call) for call in (good, refused)] == [id_of(stage_span)] * 2
    assert [parent_of(inside) for inside in recorded.named("inside")] == [id_of(good), id_of(refused)]
    assert {span.context.trace_id for span in recorded.all()} == {stage_span.context.trace_id}
    assert good.kind is SpanKind.SERVER
    assert refused.attributes["error.type"] == "InvalidInput"
    assert refused.status.is_ok


def test_a_call_that_is_repeated_takes_the_same_along() -> None:
    method = Method(ActorDiedError(), 3)

    async def run() -> None:
        with logs.about(request_id="r-1"):
            assert await call(method) == 3

    asyncio.run(run())
    assert [given["call_context"].request_id for given in method.given] == ["r-1", "r-1"]
    untold = Method(3)
    asyncio.run(call(untold))
    assert untold.given == [{}]


def test_a_replica_tells_of_its_stage_and_which_it_is() -> None:
    class FakeStage:
        """A stage with a cache."""

        async def figures(self) -> StageFigures:
            return StageFigures(caches={"song": CacheFigures(3, 2, 1)}, triton_restarts=4)

    async def run() -> None:
        first, second = (replica_class(EncodeStage, FakeStage)() for _ in range(2))
        told = [await replica.figures() for replica in (first, second, first)]
        assert told[0].caches == {"song": CacheFigures(3, 2, 1)}
        assert (told[0].triton_restarts, told[0].replica) == (4, told[2].replica)
        assert told[0].replica != told[1].replica
        silent = await replica_class(EncodeStage, object)().figures()
        assert silent.replica
        assert silent.caches == {}

    asyncio.run(run())
