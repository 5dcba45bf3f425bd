"""Retries as a function of what a server answers, with a clock that only pauses move."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.client.retries import Deadline, Retries, exchange
from choreo.client.wire import Answer, Pause, Request, Unreachable
from choreo.errors import (
    BackendUnavailable,
    ChoreoError,
    ConnectionLost,
    DeadlineExceeded,
    ErrorAnswer,
    InvalidInput,
    Overloaded,
    ServerFailed,
    UnexpectedAnswer,
)

Reply = Answer | Unreachable
LOST = Unreachable("the connection was lost", sent=True)
REFUSED = Unreachable("nobody listens", sent=False)
OK = Answer(200, {}, b"ok")


def busy(status: int = 429, after: str = "2") -> Answer:
    return Answer(status, {"retry-after": after} if after else {}, b"")


@dataclass
class FakeServer:
    """Gives replies in turn, the last one for ever; time passes in pauses, and by a second for every reply."""

    replies: Sequence[Reply]
    now: float = 100.0
    asked: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def talk(self, timeout_s: float = 1000, retries: Retries | None = None, repeatable: bool = True) -> bytes:
        deadline = Deadline.after(timeout_s, lambda: self.now)

        def make(left: float) -> Request:
            self.asked.append(left)
            return Request("POST", "/", left)

        flow = exchange(make, lambda answer: answer.body, deadline, retries or Retries(), repeatable)
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    self.now += step.seconds
                    step = flow.send(None)
                    continue
                reply = self.replies[min(len(self.asked), len(self.replies)) - 1]
                self.now += 1
                step = flow.throw(reply) if isinstance(reply, Unreachable) else flow.send(reply)
        except StopIteration as end:
            body: bytes = end.value
            return body


def test_retry_after_is_waited_for_with_jitter() -> None:
    server = FakeServer([busy(), busy(503, "4"), OK])
    assert server.talk() == b"ok"
    assert 2 <= server.pauses[0] <= 3
    assert 4 <= server.pauses[1] <= 6
    assert server.asked == pytest.approx([1000, 999 - server.pauses[0], 998 - sum(server.pauses)])


def test_pauses_double_where_the_server_does_not_say() -> None:
    server = FakeServer([busy(503, "")] * 9 + [OK])
    server.talk(retries=Retries(first_s=1, longest_s=16))
    for i, pause in enumerate(server.pauses):
        assert min(2**i, 16) / 2 <= pause <= min(2**i, 16)


@pytest.mark.parametrize(
    ("reply", "error"),
    [(busy(), Overloaded), (busy(503), BackendUnavailable), (LOST, ConnectionLost), (REFUSED, BackendUnavailable)],
)
def test_attempts_are_bounded(reply: Reply, error: type[ChoreoError]) -> None:
    server = FakeServer([reply])
    with pytest.raises(error) as caught:
        server.talk(timeout_s=1e6, retries=Retries(busy=3, lost=3))
    assert len(server.asked) == 4
    assert type(caught.value) is error  # a connection that was never made has lost nothing
    assert caught.value.answer == (ErrorAnswer(reply.status, "", 2.0) if isinstance(reply, Answer) else None)


def test_what_must_not_happen_twice_is_repeated_only_where_it_cannot() -> None:
    assert FakeServer([REFUSED, busy(), OK]).talk(repeatable=False) == b"ok"
    server = FakeServer([LOST, OK])
    with pytest.raises(BackendUnavailable):
        server.talk(repeatable=False)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(422, {}, b""), InvalidInput), (Answer(500, {}, b""), ServerFailed),
        (Answer(504, {}, b""), DeadlineExceeded),
        (Answer(302, {"location": "https://example.org"}, b""), UnexpectedAnswer),
    ],
)  # fmt: skip
def test_other_errors_are_final(answer: Answer, error: type[ChoreoError]) -> None:
    server = FakeServer([answer, OK])
    with pytest.raises(error):
        server.talk()
    assert len(server.asked) == 1


def test_time_that_ran_out_is_a_missed_deadline() -> None:
    with pytest.raises(DeadlineExceeded, match="within 5 s"):
        FakeServer([Unreachable("silent", sent=True, late=True)]).talk(timeout_s=5)


REPLIES = st.one_of(
    st.just(LOST),
    st.just(REFUSED),
    st.builds(busy, st.sampled_from([429, 503]), st.sampled_from(["", "0", "1", "30", "999999999999", "soon", "-1"])),
)


@given(
    replies=st.lists(REPLIES, min_size=1, max_size=30),
    timeout_s=st.floats(0.001, 300),
    busy_times=st.integers(0, 40),
    lost=st.integers(0, 10),
)
def test_no_attempt_begins_after_the_deadline(
    replies: list[Reply], timeout_s: float, busy_times: int, lost: int
) -> None:
    server = FakeServer([*replies, OK])
    try:
        server.talk(timeout_s, Retries(busy=busy_times, lost=lost))
    except ChoreoError:
        assert len(server.asked) <= 1 + busy_times + lost
    assert all(0 < left <= timeout_s + 1e-9 for left in server.asked)
    assert server.now <= 100 + timeout_s + 1


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("3", lambda s: s == 3), ("Wed, 21 Oct 2015 07:28:00 GMT", lambda s: s == 0), ("soon", lambda s: s is None),
        ("9" * 50, lambda s: s == 3600), ("Fri, 31 Dec 9999 23:59:59 GMT", lambda s: s == 3600),
        ("", lambda s: s is None), ("٣", lambda s: s is None), ("Wed, 21 Oct 2015 07:28:00", lambda s: s is None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(text: str, check: Callable[[float | None], bool]) -> None:
    from choreo.client.problems import retry_after_s

    assert check(retry_after_s(Answer(429, {"retry-after": text}, b"")))
