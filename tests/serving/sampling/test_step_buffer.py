"""What is written into the buffer of a step batch, and what is there already."""

import numpy as np
from fake_step_engine import DENOISER, trajectory

from choreo.generators.base import zeros
from serving.sampling.step_buffer import StepBuffer


def test_what_does_not_change_is_written_once() -> None:
    buffer = StepBuffer(zeros(DENOISER, 8))
    first, second = trajectory(seed=1), trajectory(seed=2)
    for _ in range(3):
        buffer.load([(first, 0), (first, 1), (second, 0), (second, 1)])
    assert buffer.written == 4
    entries = buffer.load([(second, 0), (second, 1)])
    assert buffer.written == 6  # they had to move to the front
    assert [row for _, row in entries] == [0, 1]


def test_a_row_that_moves_up_is_written_where_it_is_now() -> None:
    """Rows leave, come and change places; the inputs are those of the rows that are said to be there."""
    buffer, plain = StepBuffer(zeros(DENOISER, 6)), StepBuffer(zeros(DENOISER, 1))
    some = [trajectory(300, seed=seed, name=float(seed)) for seed in range(3)]
    rng = np.random.default_rng(0)
    every = [(one, row) for one in some for row in range(one.rows)]
    for _ in range(50):
        wanted = [every[i] for i in rng.permutation(len(every))[: rng.integers(1, 7)]]
        entries = buffer.load(wanted)
        assert {(id(one), row) for one, row in entries} == {(id(one), row) for one, row in wanted}
        for at, entry in enumerate(entries):
            plain.forget(entry[0])
            plain.load([entry])
            for name, values in plain.inputs.items():
                np.testing.assert_array_equal(buffer.inputs[name][at], values[0])


def test_unconditional_rows_see_neither_prior_nor_rhythm() -> None:
    buffer = StepBuffer(zeros(DENOISER, 2))
    one = trajectory()
    one.timelines["known"][:] = 3
    buffer.load([(one, 0), (one, 1)])
    assert buffer.inputs["prior"][0].any()
    assert not buffer.inputs["prior"][1].any()
    assert (buffer.inputs["known"] == 3).all()
    np.testing.assert_array_equal(buffer.inputs["context"][1], one.encoded["context"][-1])
