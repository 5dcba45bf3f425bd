"""Jukebox without its weights: windows, averaging, layer counting, and what is said where something is missing."""

import sys
from pathlib import Path

import numpy as np
import pytest

from choreo.errors import MissingDependency
from choreo.music.audio import Audio
from choreo.music.encoders import music_encoder
from choreo.music.jukebox import JukeboxEncoder, encode_windows
from choreo.music.jukebox_worker import (
    SAMPLE_RATE,
    SAMPLES_PER_FRAME,
    WindowModel,
    WrongWeightsError,
    frame_average,
    self_attention_layer,
)


def ramp(seconds: float) -> Audio:
    """Every sample is its own time, relative to the song's length."""
    samples = np.linspace(0, 1, round(seconds * SAMPLE_RATE), dtype=np.float32)
    return Audio(samples, SAMPLE_RATE, len(samples) / SAMPLE_RATE, "digest")


def fake_model(window_frames: int, starts: list[float]) -> WindowModel:
    """A model whose feature is each frame's first sample; notes the first sample of every window."""

    def activations(samples: np.ndarray) -> np.ndarray:
        starts.append(float(samples[0]))
        return samples[::SAMPLES_PER_FRAME][:window_frames, None].astype(np.float32)

    return WindowModel(window_frames * SAMPLES_PER_FRAME, activations)


@pytest.mark.parametrize("seconds", [0.2, 3.0, 3.1, 10.0])
def test_windows_meet_without_a_gap(seconds: float) -> None:
    audio, starts = ramp(seconds), []
    features = encode_windows(fake_model(90, starts), audio)
    times = np.arange(audio.num_frames) / 30 / audio.seconds
    assert features.shape == (audio.num_frames, 1)
    np.testing.assert_allclose(features[:, 0], times, atol=1e-3)
    assert len(starts) == max(1, 1 + int(np.ceil((audio.num_frames - 90) / 45)))


def test_later_windows_start_half_a_window_before_what_they_add() -> None:
    audio, starts = ramp(6.0), []
    encode_windows(fake_model(90, starts), audio)
    np.testing.assert_allclose(np.array(starts) * 6, [0, 1.5, 3], atol=1e-3)


def test_tokens_are_averaged_over_a_frame() -> None:
    weights = frame_average(100, 8, 11.5)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    centres = weights @ (np.arange(100) + 0.5)
    np.testing.assert_allclose(centres, (np.arange(8) + 0.5) * 11.5, atol=0.05)


def test_cross_attention_layers_are_not_counted() -> None:
    layers = ["block_attn", "cross_attention", "prev_block_attn"]
    assert self_attention_layer(layers, 2) == 2
    with pytest.raises(WrongWeightsError, match="2 layers"):
        self_attention_layer(layers, 3)


@pytest.mark.parametrize("python", [None, sys.executable, "/nowhere/python"])
def test_what_is_missing_is_said_with_the_settings_that_help(
    python: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHOREO_JUKEBOX_PYTHON", raising=False)
    encoder = music_encoder("jukebox", source=tmp_path, python=python)
    assert isinstance(encoder, JukeboxEncoder)
    assert (encoder.name, encoder.dim, encoder.sample_rate) == ("jukebox", 4800, 44_100)
    with pytest.raises(MissingDependency) as caught:
        encoder.encode(ramp(1.0))
    cause = "cannot run the Jukebox interpreter" if python == "/nowhere/python" else "jukebox"
    for part in ("transformers==4.57", "CHOREO_JUKEBOX_PYTHON", "CHOREO_JUKEBOX_WEIGHTS", "13 GB", cause):
        assert part in str(caught.value)


def test_the_version_changes_with_layer_and_weights(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"1")
    versions = {JukeboxEncoder(source).version() for source in (tmp_path, "openai/jukebox-5b-lyrics")}
    versions.add(JukeboxEncoder(tmp_path, layer=36).version())
    (tmp_path / "model.safetensors").write_bytes(b"22")
    versions.add(JukeboxEncoder(tmp_path).version())
    assert len(versions) == 4
