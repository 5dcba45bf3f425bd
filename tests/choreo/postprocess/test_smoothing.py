"""Smoothing: jitter goes, movement at the tempo of music stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.motion.rotations import axis_angle, yaw
from choreo.postprocess.smoothing import smooth, smooth_pose

FRAMES = 300


def sine(frequency: float, amplitude: float = 0.1, frames: int = FRAMES, fps: float = 30) -> np.ndarray:
    wave = amplitude * np.sin(2 * np.pi * frequency * np.arange(frames) / fps)
    return np.stack([wave, 0 * wave, 0 * wave], axis=1)[:, None]


def jitter(frames: int = FRAMES, sigma: float = 0.005, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sigma, (frames, 1, 3))


def rms(x: np.ndarray) -> float:
    return float(np.sqrt((x**2).mean()))


@pytest.mark.parametrize("frequency", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("sigma", [0.0, 0.005])
@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_movement_at_the_tempo_of_music_keeps_its_amplitude(frequency: float, sigma: float, fps: float) -> None:
    clean = sine(frequency, fps=fps)
    out = smooth(clean + jitter(sigma=sigma), fps)
    amplitude = (out * clean).sum() / (clean * clean).sum()
    assert amplitude == pytest.approx(1, abs=0.05)


def test_jitter_of_a_still_joint_falls_by_more_than_half() -> None:
    assert rms(smooth(jitter())) < 0.5 * rms(jitter())


@pytest.mark.parametrize("frequency", [2.0, 3.0])
def test_jitter_of_a_moving_joint_falls_and_its_roughness_falls_to_a_third(frequency: float) -> None:
    clean = sine(frequency)
    left = smooth(clean + jitter()) - clean
    assert rms(left) < 0.8 * rms(jitter())
    assert rms(np.diff(left, n=3, axis=0)) < rms(np.diff(jitter(), n=3, axis=0)) / 3


@pytest.mark.parametrize("beats_per_second", [2.0, 3.0])
@pytest.mark.parametrize("sigma", [0.0, 0.002])
def test_stops_on_the_beat_stay_where_and_as_deep_as_they_were(beats_per_second: float, sigma: float) -> None:
    beat = np.arange(FRAMES) * beats_per_second / 30
    place = 0.15 * (beat - np.sin(2 * np.pi * beat) / (2 * np.pi))  # 15 cm a beat, standing still on each
    out = smooth(np.stack([place, 0 * place, 0 * place], axis=1)[:, None] + jitter(sigma=sigma))
    speed = np.linalg.norm(out[2:, 0] - out[:-2, 0], axis=-1) * 15
    peak = 0.3 * beats_per_second
    stops = np.arange(1, int(beat[-1])) * 30 / beats_per_second - 1
    for stop in stops.astype(int):
        around = speed[stop - 4 : stop + 5]
        assert abs(int(around.argmin()) - 4) <= 1
        assert around.min() < (0.05 if sigma == 0 else 0.15) * peak
    assert np.percentile(speed, 95) == pytest.approx(peak, rel=0.05 if sigma == 0 else 0.08)


def test_clean_movement_is_left_alone() -> None:
    clean = sine(1.5)
    assert np.abs(smooth(clean) - clean)[5:-5].max() < 5e-4
    assert np.abs(smooth(clean) - clean).max() < 2e-3  # ends are extrapolated


def test_a_sudden_accent_in_a_quiet_noisy_signal_keeps_its_height() -> None:
    accent = np.zeros((FRAMES, 1, 3))
    accent[150:, :, 0] = 0.3
    accent[148:150, :, 0] = [[0.1], [0.2]]
    out = smooth(accent + jitter(sigma=0.003))
    assert (out[153] - out[144])[0, 0] == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("frames", range(1, 20))
def test_short_signals_keep_their_length_and_stay_close(frames: int) -> None:
    given_ = sine(1.0, frames=frames)
    out = smooth(given_)
    assert out.shape == given_.shape
    assert np.abs(out - given_).max() < 0.005
    if frames < 4:
        assert np.array_equal(out, given_)


@given(angle=st.floats(-3, 3), shift=st.floats(-2, 2), seed=st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_smoothing_commutes_with_turning_and_moving(angle: float, shift: float, seed: int) -> None:
    signal = sine(2.0, frames=60) + jitter(60, seed=seed)
    moved = signal @ yaw(angle).T + shift
    assert np.allclose(smooth(moved), smooth(signal) @ yaw(angle).T + shift, atol=1e-9)


def test_poses_stay_rotations() -> None:
    rng = np.random.default_rng(0)
    world = np.broadcast_to(axis_angle(np.array([0.0, 1.0, 0.0]), np.linspace(0, 6, 60))[:, None], (60, 22, 3, 3))
    wobble = axis_angle(np.array([1.0, 0.0, 0.0]), rng.normal(0, 0.05, (60, 22)))
    root, out = smooth_pose(np.zeros((60, 3)), world @ wobble)
    assert root.shape == (60, 3)
    assert np.allclose(out @ np.swapaxes(out, -1, -2), np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(out), 1)
    assert rms(out - world) < 0.7 * rms(world @ wobble - world)
