"""The bar-pointer model: the path of Viterbi's algorithm over all places in a bar, and beats where they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.music.beat_tracking.bar_pointer import BEAT_SHARE, METERS, ROUNDING, STEADINESS, BarPointer, Bars

FPS, MIN_BPM, MAX_BPM = 10, 100, 200
"""Beats of 3 to 6 frames."""


def change_cost(before: int, after: int) -> float:
    """What it costs that a beat of `after` frames follows one of `before`."""
    frames = abs(after - before)
    first = min(ROUNDING, STEADINESS / before)
    return first * frames if frames <= 1 else first + STEADINESS * (frames - 1) / before


def viterbi(activations: np.ndarray) -> tuple[float, list[tuple[int, int]], int]:
    """Log probability, beats (frame, number) and meter, by the plain algorithm over places in a bar."""
    lengths = list(range(round(60 * FPS / MAX_BPM), round(60 * FPS / MIN_BPM) + 1))
    logs = np.log(
        np.maximum(
            [(1 - activations.sum(1)) / (BEAT_SHARE - 1), activations[:, 1], activations[:, 0]],
            [[1e-8 / 15], [1e-8], [1e-8]],
        )
    )
    best: tuple[float, list[tuple[int, int]], int] = (-np.inf, [], 0)
    for meter in METERS:
        states = [(number, length, place) for number in range(meter) for length in lengths for place in range(length)]
        index = {state: i for i, state in enumerate(states)}
        kinds = [0 if BEAT_SHARE * place >= length else (1 if number == 0 else 2) for number, length, place in states]
        transitions = np.full((len(states), len(states)), -np.inf)
        for number, length, place in states:
            if place + 1 < length:
                transitions[index[number, length, place], index[number, length, place + 1]] = 0
                continue
            costs = np.array([-change_cost(length, other) for other in lengths])
            costs -= np.log(np.exp(costs).sum())
            for other, cost in zip(lengths, costs, strict=True):
                transitions[index[number, length, place], index[(number + 1) % meter, other, 0]] = cost
        score = np.full(len(states), -np.log(len(states))) + logs[kinds, 0]
        back = []
        for t in range(1, len(activations)):
            options = score[:, None] + transitions
            back.append(options.argmax(0))
            score = options.max(0) + logs[kinds, t]
        path = [int(score.argmax())]
        for sources in reversed(back):
            path.append(int(sources[path[-1]]))
        found = [(t, states[i][0] + 1) for t, i in enumerate(path[::-1]) if states[i][2] == 0]
        if score.max() > best[0]:
            best = float(score.max()), found, meter
    return best


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([0.1, 0.5, 0.98]))
@settings(max_examples=30)
def test_equals_viterbi(seed: int, frames: int, loudest: float) -> None:
    rng = np.random.default_rng(seed)
    activations = rng.dirichlet([0.5, 0.5, 1], frames)[:, :2] * loudest
    bars = BarPointer(FPS, MIN_BPM, MAX_BPM).decode(activations)
    _, expected, meter = viterbi(activations)
    assert list(zip(bars.frames.tolist(), bars.numbers.tolist(), strict=True)) == expected
    assert bars.meter == meter


def grid(beats: np.ndarray, meter: int) -> np.ndarray:
    """Activations with a peak on each beat, in frames, as wide as those of a network."""
    activations = np.full((round(beats[-1]) + 10, 2), 0.01)
    for number, beat in enumerate(beats):
        frames = np.arange(int(beat) - 1, int(beat) + 3)
        heights = 0.9 * np.maximum(1 - np.abs(frames - beat) / 2, 0) + 0.01
        frames, heights = frames[frames >= 0], heights[frames >= 0]
        activations[frames] = np.stack([heights, heights * 0.05] if number % meter else [heights * 0.05, heights], 1)
    return activations


def matched(bars: Bars, beats: np.ndarray) -> np.ndarray:
    """Index of the decoded beat at each of the beats; all are within a frame and a half."""
    away = np.abs(bars.frames - beats[:, None])
    assert away.min(1).max() <= 1.5
    return away.argmin(1)


@pytest.mark.parametrize("meter", METERS)
@pytest.mark.parametrize("bpm", [75, 100, 120, 137])
def test_a_clear_grid_is_found(meter: int, bpm: int) -> None:
    beats = np.arange(7, 1500, 3000 / bpm)
    bars = BarPointer(50).decode(grid(beats, meter))
    assert bars.meter == meter
    assert len(bars.frames) <= len(beats) + 1  # one may have begun before the song
    np.testing.assert_array_equal(bars.numbers[matched(bars, beats)], np.arange(len(beats)) % meter + 1)


def test_a_tempo_that_changes_is_followed() -> None:
    beats = np.cumsum(np.linspace(20, 30, 60))
    bars = BarPointer(50).decode(grid(beats, 4))
    matched(bars, beats)
    assert len(bars.frames) <= len(beats) + 1


def test_hours_take_little_memory_and_impossible_numbers_are_survived() -> None:
    activations = np.zeros((20_000, 2))
    activations[::25] = [1.0, 1.0]
    bars = BarPointer(50).decode(activations)
    assert len(bars.frames) > 500
    assert np.all(np.diff(bars.frames) > 0)
