"""Jukebox: what can be checked without its weights, which are windows, averaging, layer counting and the refusal."""

from pathlib import Path

import numpy as np
import pytest

from choreo.errors import InvalidArtifact, MissingDependency
from choreo.music.audio import Audio
from choreo.music.encoders import music_encoder
from choreo.music.jukebox import (
    SAMPLE_RATE,
    JukeboxEncoder,
    Listener,
    frame_average,
    listen_to_song,
    self_attention_layer,
)


def ramp(seconds: float) -> Audio:
    """Every sample is its own time, relative to the song's length."""
    samples = np.linspace(0, 1, round(seconds * SAMPLE_RATE), dtype=np.float32)
    return Audio(samples, SAMPLE_RATE, len(samples) / SAMPLE_RATE, "digest")


def echo(window_frames: int, heard: list[float]) -> Listener:
    """A listener whose feature is each frame's first sample."""

    def listen(samples: np.ndarray) -> np.ndarray:
        heard.append(float(samples[0]))
        return samples[:: SAMPLE_RATE // 30][:window_frames, None].astype(np.float32)

    return Listener(window_frames * SAMPLE_RATE // 30, listen)


@pytest.mark.parametrize("seconds", [0.2, 3.0, 3.1, 10.0])
def test_windows_meet_without_a_gap(seconds: float) -> None:
    audio, heard = ramp(seconds), []
    features = listen_to_song(echo(90, heard), audio)
    times = np.arange(audio.num_frames) / 30 / audio.seconds
    assert features.shape == (audio.num_frames, 1)
    np.testing.assert_allclose(features[:, 0], times, atol=1e-3)
    assert len(heard) == max(1, 1 + int(np.ceil((audio.num_frames - 90) / 45)))


def test_later_windows_start_half_a_window_before_what_they_add() -> None:
    audio, heard = ramp(6.0), []
    listen_to_song(echo(90, heard), audio)
    np.testing.assert_allclose(np.array(heard) * 6, [0, 1.5, 3], atol=1e-3)


def test_tokens_are_averaged_over_a_frame() -> None:
    weights = frame_average(100, 8, 11.5)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    centres = weights @ (np.arange(100) + 0.5)
    np.testing.assert_allclose(centres, (np.arange(8) + 0.5) * 11.5, atol=0.05)


def test_cross_attention_layers_are_not_counted() -> None:
    layers = ["block_attn", "cross_attention", "prev_block_attn"]
    assert self_attention_layer(layers, 2) == 2
    with pytest.raises(InvalidArtifact, match="2 layers"):
        self_attention_layer(layers, 3)


def test_without_the_old_transformers_the_message_says_what_is_needed(tmp_path: Path) -> None:
    encoder = music_encoder("jukebox", source=tmp_path)
    assert isinstance(encoder, JukeboxEncoder)
    assert (encoder.name, encoder.dim, encoder.sample_rate) == ("jukebox", 4800, 44_100)
    with pytest.raises(MissingDependency) as caught:
        encoder.encode(ramp(1.0))
    for part in ("transformers==4.57", "runtime_env", "13 GB", "openai/jukebox-5b-lyrics"):
        assert part in str(caught.value)
