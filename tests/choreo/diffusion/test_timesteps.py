"""The timesteps of reverse processes: where they begin and end, in what they are even, and how many there may be."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.diffusion.schedule import NoiseSchedule, ScheduleName
from choreo.diffusion.timesteps import LOG_SNR, Pairs, even_in_log_snr, parts_of_log_snr, uniform
from choreo.errors import InvalidInput

SCHEDULES = {name: NoiseSchedule.make(name) for name in ScheduleName}
WAYS: dict[str, Callable[[int], Pairs]] = {"uniform": lambda steps: uniform(steps, 1000)}
WAYS |= {name.value: lambda steps, of=of: even_in_log_snr(steps, of) for name, of in SCHEDULES.items()}  # type: ignore[misc]
WAYS |= {f"parts-{n.value}": lambda steps, of=of: parts_of_log_snr(steps, of) for n, of in SCHEDULES.items()}  # type: ignore[misc]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@given(steps=st.integers(1, 1000))
def test_they_descend_from_the_last_to_the_noise_free_end(way: Callable[[int], Pairs], steps: int) -> None:
    pairs = way(steps)
    assert len(pairs) == steps
    assert pairs[0, 0] == 999
    assert pairs[-1, 1] == -1
    assert (pairs[:, 0] > pairs[:, 1]).all()
    np.testing.assert_array_equal(pairs[1:, 0], pairs[:-1, 1])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_counts_are_refused_by_field(way: Callable[[int], Pairs], steps: int) -> None:
    with pytest.raises(InvalidInput) as error:
        way(steps)
    assert error.value.field == "num_steps"


def test_uniform_ones_are_those_of_the_paper() -> None:
    np.testing.assert_array_equal(uniform(4, 1000)[:, 0], [999, 749, 499, 249])


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_steps_are_even_in_log_snr(schedule: NoiseSchedule) -> None:
    t = even_in_log_snr(8, schedule)[1:, 0]
    wanted = np.linspace(*LOG_SNR, 8)[1:]
    nearest = np.abs(schedule.log_snr(np.arange(1000))[:, None] - wanted).min(axis=0)
    np.testing.assert_array_less(np.abs(schedule.log_snr(t) - wanted), nearest + 0.02)


def test_parts_begin_where_they_should() -> None:
    """Four begin at -5, for which there is T - 1, and at the three quarters that follow; none at the end."""
    schedule = SCHEDULES[ScheduleName.COSINE]
    t = parts_of_log_snr(4, schedule)[:, 0]
    np.testing.assert_allclose(schedule.log_snr(t)[1:], [-3.125, -1.25, 0.625], atol=0.02)
    np.testing.assert_array_equal(parts_of_log_snr(1, schedule), [[999, -1]])


def test_log_snr_is_infinite_without_noise() -> None:
    assert SCHEDULES[ScheduleName.COSINE].log_snr(np.array([-1]))[0] == np.inf
