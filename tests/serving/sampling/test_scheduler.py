"""The policy of step batches, without an event loop: fairness, every row once, cancellation, retries."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_generator import tiny_spec

from choreo.errors import BackendUnavailable, DeadlineExceeded, NonFiniteOutput
from choreo.generators.spec import GeneratorSpec
from serving.sampling.scheduler import MAX_RETRIES, BatchOptions, State, StepBatch, StepScheduler

SALSA, WALTZ = tiny_spec("salsa"), tiny_spec("waltz")
INSTANCES = {spec.key(graph.name): 1 for spec in (SALSA, WALTZ) for graph in spec.graphs}


@dataclass(eq=False)
class FakeTrajectory:
    """Steps with a given number of rows of a given graph each."""

    steps: Sequence[tuple[str, int]]
    weight: float = 1.0
    deadline: float = float("inf")
    index: int = 0
    added: Counter = field(default_factory=Counter)
    evaluations: Counter = field(default_factory=Counter)

    @property
    def graph(self) -> str:
        return self.steps[min(self.index, len(self.steps) - 1)][0]

    @property
    def rows(self) -> int:
        return 0 if self.done else self.steps[self.index][1]

    @property
    def done(self) -> bool:
        return self.index == len(self.steps)

    @property
    def complete(self) -> bool:
        return len(self.added) == self.rows

    @property
    def progress(self) -> str:
        return f"step {self.index} of {len(self.steps)}"

    @property
    def evaluated(self) -> Mapping[str, int]:
        return {}

    def add(self, row: int) -> None:
        assert row not in self.added, "a row was evaluated twice"
        self.added[row] += 1
        self.evaluations[self.index, row] += 1

    def advance(self) -> None:
        self.index += 1
        self.added.clear()

    def repeat(self) -> None:
        self.added.clear()

    def result(self) -> np.ndarray:
        return np.zeros((1, 1), np.float32)


def denoise(steps: int, rows: int = 2, weight: float = 1.0, **more: object) -> FakeTrajectory:
    return FakeTrajectory([("denoiser", rows)] * steps, weight, **more)  # type: ignore[arg-type]


def finish(scheduler: StepScheduler, batch: StepBatch) -> None:
    """What the runner does when a batch was evaluated."""
    touched = {}
    for slot in batch.slots:
        if not slot.stale:
            slot.request.trajectory.add(slot.row)  # type: ignore[call-arg, arg-type]
            touched[slot.request] = None
    complete = [request for request in touched if request.trajectory.complete]
    for request in complete:
        request.trajectory.advance()
    scheduler.advanced(complete)
    scheduler.left(batch)
    for request in complete:
        if request.state is State.DONE:
            scheduler.leave(request)


def drain(scheduler: StepScheduler, limit: int = 10_000) -> list[StepBatch]:
    """Run everything to its end, one batch at a time."""
    batches = []
    while (batch := scheduler.next_batch(INSTANCES)) is not None:
        batches.append(batch)
        finish(scheduler, batch)
        assert len(batches) < limit
    return batches


request_strategy = st.tuples(
    st.sampled_from([SALSA, WALTZ]),
    st.lists(st.tuples(st.sampled_from(["conditioner", "denoiser"]), st.integers(1, 70)), min_size=1, max_size=5),
    st.sampled_from([1.0, 0.25]),
)


@given(
    st.lists(request_strategy, min_size=1, max_size=8),
    st.integers(1, 40),
    st.integers(1, 3),
    st.lists(st.integers(0, 3), max_size=60),
)
@settings(max_examples=150)
def test_every_row_is_evaluated_once_and_none_is_lost(
    wanted: list[tuple[GeneratorSpec, list[tuple[str, int]], float]], rows: int, instances: int, order: list[int]
) -> None:
    scheduler = StepScheduler(BatchOptions(rows=rows))
    trajectories = [FakeTrajectory(steps, weight) for _, steps, weight in wanted]
    requests = [scheduler.admit(t, spec) for t, (spec, _, _) in zip(trajectories, wanted, strict=True)]
    running: list[StepBatch] = []
    choices = iter([*order, *[0] * 100_000])
    while any(request.active for request in requests):
        batch = scheduler.next_batch(dict.fromkeys(INSTANCES, instances))
        if batch is not None:
            assert 1 <= len(batch.slots) <= min(rows, batch.graph.max_rows)
            assert all(slot.request.key == batch.key for slot in batch.slots)
            running.append(batch)
            depth = Counter(b.key for b in running)
            assert max(depth.values()) <= instances + scheduler.options.queued
            if next(choices) % 4:
                continue
        finish(scheduler, running.pop(next(choices) % len(running)))
    for trajectory, (_, steps, _) in zip(trajectories, wanted, strict=True):
        assert trajectory.evaluations == Counter({(i, r): 1 for i, (_, n) in enumerate(steps) for r in range(n)})
    assert scheduler.requests == []


@given(st.integers(2, 6), st.integers(1, 2), st.sampled_from([1.0, 0.25]))
def test_service_is_shared_by_weight(competitors: int, rows: int, weight: float) -> None:
    """At any moment, what two requests with work were served differs by at most a batch (Goyal et al. 1996)."""
    scheduler = StepScheduler(BatchOptions(rows=rows * 2, min_fill=1))
    weights = [1.0] * competitors + [weight]
    requests = [scheduler.admit(denoise(10_000, rows, w), SALSA) for w in weights]
    for _ in range(200):
        batch = scheduler.next_batch(INSTANCES)
        assert batch is not None
        finish(scheduler, batch)
        served = [request.virtual_time for request in requests]
        assert max(served) - min(served) <= 2 * scheduler.options.rows / weight
    served_rows = [sum(r.trajectory.evaluations.values()) for r in requests]  # type: ignore[attr-defined]
    assert served_rows[-1] == pytest.approx(served_rows[0] * weight, abs=4 * rows)


def test_a_request_that_comes_late_starts_level_and_does_not_starve_the_others() -> None:
    scheduler = StepScheduler(BatchOptions(rows=2))
    old = scheduler.admit(denoise(1000), SALSA)
    for _ in range(100):
        batch = scheduler.next_batch(INSTANCES)
        assert batch is not None
        finish(scheduler, batch)
    new = scheduler.admit(denoise(1000), SALSA)
    for _ in range(40):
        batch = scheduler.next_batch(INSTANCES)
        assert batch is not None
        finish(scheduler, batch)
    assert old.trajectory.index - 100 == pytest.approx(new.trajectory.index, abs=2)  # type: ignore[attr-defined]


def test_rows_of_one_graph_share_batches_and_two_generators_are_both_served() -> None:
    scheduler = StepScheduler()
    for spec in (SALSA, WALTZ):
        for _ in range(4):
            scheduler.admit(denoise(10), spec)
    batches = drain(scheduler)
    keys = Counter(batch.key for batch in batches)
    assert keys["salsa.denoiser"] == keys["waltz.denoiser"]
    assert all(len(batch.requests) == 4 for batch in batches if len(batch.slots) == 8)
    # Neither waits for the other: in every stretch of four batches both are served.
    names = [batch.key for batch in batches]
    assert all(len(set(names[i : i + 4])) == 2 for i in range(len(names) - 8))


def test_a_graph_that_costs_less_is_charged_less() -> None:
    scheduler = StepScheduler(BatchOptions(rows=4))
    cheap = scheduler.admit(FakeTrajectory([("conditioner", 4)] * 100), SALSA)
    dear = scheduler.admit(denoise(100, 4), SALSA)
    for _ in range(22):
        batch = scheduler.next_batch(INSTANCES)
        assert batch is not None
        finish(scheduler, batch)
    assert cheap.trajectory.index >= 8 * dear.trajectory.index  # type: ignore[attr-defined]


def test_a_step_that_fits_one_batch_is_not_divided() -> None:
    scheduler = StepScheduler(BatchOptions(rows=8))
    for rows in (6, 6, 6, 6):
        scheduler.admit(denoise(1, rows), SALSA)
    assert [len(batch.slots) for batch in drain(scheduler)] == [6, 6, 6, 6]


def test_a_long_song_is_divided_into_batches_of_one_size() -> None:
    scheduler = StepScheduler(BatchOptions(rows=32))
    scheduler.admit(denoise(2, 100), SALSA)
    assert [len(batch.slots) for batch in drain(scheduler)] == [25, 25, 25, 25] * 2


def test_few_rows_are_divided_where_instances_would_have_nothing() -> None:
    scheduler = StepScheduler()
    scheduler.admit(denoise(1, 2), SALSA)
    first = scheduler.next_batch({"salsa.denoiser": 2})
    second = scheduler.next_batch({"salsa.denoiser": 2})
    assert first is not None
    assert second is not None
    assert [len(first.slots), len(second.slots)] == [1, 1]


def test_states_follow_a_request() -> None:
    scheduler = StepScheduler()
    request = scheduler.admit(denoise(1), SALSA)
    assert request.state is State.WAITING
    batch = scheduler.next_batch(INSTANCES)
    assert batch is not None
    assert request.state is State.RUNNING
    assert scheduler.next_batch(INSTANCES) is None
    finish(scheduler, batch)
    assert request.state is State.DONE
    assert not request.active


def test_a_trajectory_without_steps_is_done_at_once() -> None:
    scheduler = StepScheduler()
    assert scheduler.admit(FakeTrajectory([]), SALSA).state is State.DONE
    assert scheduler.requests == []


def test_rows_of_a_cancelled_request_are_stale_and_its_place_is_free() -> None:
    scheduler = StepScheduler(BatchOptions(rows=4))
    gone, stays = scheduler.admit(denoise(5), SALSA), scheduler.admit(denoise(5), SALSA)
    batch = scheduler.next_batch(INSTANCES)
    assert batch is not None
    scheduler.leave(gone)
    assert gone.state is State.CANCELLED
    assert {slot.request for slot in batch.slots if slot.stale} == {gone}
    finish(scheduler, batch)
    assert all(b.requests == [stays] for b in drain(scheduler))
    assert stays.state is State.DONE


def test_the_late_fail_and_say_where_they_were() -> None:
    scheduler = StepScheduler()
    late = scheduler.admit(denoise(5, deadline=10.0), SALSA)
    batch = scheduler.next_batch(INSTANCES)
    assert batch is not None
    assert scheduler.expire(9.9) == []
    finish(scheduler, batch)
    assert scheduler.expire(10.1) == [late]
    assert late.state is State.FAILED
    with pytest.raises(DeadlineExceeded, match="at step 1 of 5"):
        raise late.error or AssertionError
    assert scheduler.next_batch(INSTANCES) is None


def test_a_failed_batch_is_evaluated_again_and_then_fails() -> None:
    scheduler = StepScheduler()
    request = scheduler.admit(denoise(3), SALSA)
    for attempt in range(MAX_RETRIES + 1):
        batch = scheduler.next_batch(INSTANCES)
        assert batch is not None, attempt
        scheduler.retry(batch, BackendUnavailable("down"), counts=True)
        scheduler.left(batch)
    assert request.state is State.FAILED
    assert isinstance(request.error, BackendUnavailable)


def test_outputs_of_an_evaluation_that_was_given_up_are_stale() -> None:
    scheduler = StepScheduler(BatchOptions(rows=1, queued=1, min_fill=1))
    request = scheduler.admit(denoise(1), SALSA)
    first = scheduler.next_batch(INSTANCES)
    second = scheduler.next_batch(INSTANCES)
    assert first is not None
    assert second is not None
    scheduler.retry(first, BackendUnavailable("down"), counts=True)
    scheduler.left(first)
    assert all(slot.stale for slot in second.slots)
    finish(scheduler, second)
    drain(scheduler)
    assert request.state is State.DONE
    assert request.trajectory.evaluations == Counter({(0, 0): 1, (0, 1): 1})  # type: ignore[attr-defined]


def test_an_error_ends_a_request_once() -> None:
    scheduler = StepScheduler()
    request = scheduler.admit(denoise(1), SALSA)
    scheduler.fail(request, NonFiniteOutput("first"))
    scheduler.fail(request, NonFiniteOutput("second"))
    assert str(request.error) == "first"
