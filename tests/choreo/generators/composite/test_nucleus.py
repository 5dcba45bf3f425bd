"""Top-p sampling: which tokens may come, how often, and what is never allowed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.diffusion.noise import gaussian, uniform
from choreo.generators.composite.nucleus import sampled

LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05]))


@pytest.mark.parametrize(("top_p", "tokens"), [(1.0, {0, 1, 2, 3}), (0.9, {0, 1, 2}), (0.6, {0, 1}), (0.01, {0})])
def test_only_the_likeliest_tokens_come(top_p: float, tokens: set[int]) -> None:
    assert {sampled(LOGITS, u, top_p) for u in np.linspace(0.001, 0.999, 997)} == tokens


def test_tokens_come_by_their_probability() -> None:
    drawn = [sampled(LOGITS, uniform(3, i), 0.9) for i in range(20_000)]
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    np.testing.assert_allclose(shares, np.array([0.5, 0.3, 0.15, 0]) / 0.95, atol=0.012)


def test_a_low_temperature_takes_the_likeliest() -> None:
    assert {sampled(LOGITS, uniform(0, i), 1.0, 0.01) for i in range(200)} == {0}


def test_what_is_not_allowed_does_not_come() -> None:
    assert {sampled(LOGITS, uniform(0, i), 1.0, never=(0, 2)) for i in range(300)} == {1, 3}


@given(
    logits=st.lists(st.floats(-50, 50), min_size=1, max_size=40), u=st.floats(1e-9, 1 - 1e-9),
    top_p=st.floats(0.01, 1), temperature=st.floats(0.05, 5),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_a_token_is_always_one_of_them(logits: list[float], u: float, top_p: float, temperature: float) -> None:
    token = sampled(np.array(logits), u, top_p, temperature)
    assert 0 <= token < len(logits)
    assert token == sampled(np.array(logits, np.float32), u, top_p, temperature) or len(set(logits)) > 1


def test_uniform_numbers_are_addressed_and_apart_from_the_noise() -> None:
    numbers = np.array([uniform(7, i) for i in range(4000)])
    assert uniform(7, 12) == numbers[12]
    assert uniform(8, 12) != numbers[12]
    assert np.histogram(numbers, 10, (0, 1))[0].min() > 320
    noise = gaussian(7, 0, 4000, 1, 0)[:, 0]
    assert abs(np.corrcoef(noise, numbers)[0, 1]) < 0.06
