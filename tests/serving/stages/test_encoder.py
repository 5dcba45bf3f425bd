"""The encoding stage: the encoders that a model names, at their own sampling rate, and songs that repeat."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_text_encoders import save_tiny_clip

import choreo.music.jukebox
import serving.stages.encoder
from choreo.errors import InvalidInput, MissingDependency
from choreo.generators.spec import ModelSpec
from choreo.music.audio import Audio
from choreo.music.encoded import MusicFeatures, precomputed
from choreo.music.synth import synthesize_song, write_wav
from serving.pipeline.request import Attachments, MotionRequest, parse_fields, validated_request
from serving.settings import Settings
from serving.stages.encoder import Encoder

SPEC = ModelSpec(name="m", context_dim=8, mean=(0.0,) * 66, std=(1.0,) * 66)
WIDE = SPEC.model_copy(update={"music_encoder": "jukebox", "music_dim": 4800, "text_encoder": "clip", "text_dim": 768})


class FakeJukebox:
    """4800 columns that hold the sampling rate of the song."""

    name, dim, sample_rate = "jukebox", 4800, 44_100

    def encode(self, audio: Audio) -> MusicFeatures:
        return precomputed(np.full((audio.num_frames, self.dim), audio.sample_rate, np.float32), audio=audio)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("songs") / "song.wav"
    samples, rate, _ = synthesize_song(120.0, 3.0)
    write_wav(path, samples, rate)
    return path.read_bytes()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sampling rates of the songs that were decoded, in order."""
    rates: list[int] = []
    real = serving.stages.encoder.decode_audio_isolated

    def decode(data: bytes, **options: Any) -> Audio:
        rates.append(options["sample_rate"])
        return real(data, **options)

    monkeypatch.setattr(serving.stages.encoder, "decode_audio_isolated", decode)
    return rates


def job(audio: bytes | None = None, features: np.ndarray | None = None, text: str | None = None) -> MotionRequest:
    request = validated_request(parse_fields({"text_prompt": text or "x"}), Attachments(), Settings())
    return MotionRequest(**(vars(request) | {"audio": audio, "features": features, "text": text}))


def test_a_model_gets_vectors_of_the_encoders_that_it_names(
    song: bytes, decoded: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_clip(tmp_path)
    monkeypatch.setenv("CHOREO_CLIP_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(choreo.music.jukebox, "JukeboxEncoder", FakeJukebox)
    encoder = Encoder(Settings())
    wide, narrow = (encoder.encode(job(song, text="a slow waltz"), spec) for spec in (WIDE, SPEC))
    assert decoded == [44_100, 15_360]
    assert wide.music is not None
    assert narrow.music is not None
    assert (wide.music == 44_100).all()
    assert (wide.music.shape, narrow.music.shape) == ((90, 4800), (90, 35))
    assert wide.text is not None
    assert narrow.text is not None
    assert (wide.text.shape, narrow.text.shape) == ((768,), (384,))
    assert (wide.text_encoder, narrow.text_encoder) == ("clip", "minilm")
    assert wide.tempo == pytest.approx(120, rel=0.05)
    np.testing.assert_allclose(wide.rhythm[:, 3], narrow.rhythm[:, 3])


@pytest.mark.parametrize(("spec", "columns"), [(SPEC, 4800), (WIDE, 35)])
def test_features_of_another_width_are_refused(spec: ModelSpec, columns: int) -> None:
    with pytest.raises(InvalidInput, match=f"the model takes {spec.music_dim} columns, got {columns}") as caught:
        Encoder(Settings()).encode(job(features=np.zeros((90, columns), np.float32)), spec)
    assert caught.value.field == "features"


def test_an_encoder_that_is_not_here_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHOREO_CLIP_WEIGHTS", str(tmp_path))
    encoder = Encoder(Settings())
    for ask in (lambda: encoder.warm_up(WIDE), lambda: encoder.encode(job(text="a"), WIDE)):
        with pytest.raises(MissingDependency, match="CHOREO_CLIP_WEIGHTS"):
            ask()


def test_songs_that_repeat_are_decoded_once(song: bytes, decoded: list[int]) -> None:
    encoder = Encoder(Settings())
    first, second = (encoder.encode(job(song), SPEC) for _ in range(2))
    assert first.music is second.music
    assert len(decoded) == 1
    without = Encoder(Settings(song_cache_bytes=0))
    for _ in range(2):
        without.encode(job(song), SPEC)
    assert len(decoded) == 3


def test_equal_songs_at_the_same_time_are_decoded_once(
    song: bytes, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    decode: Callable[..., Audio] = serving.stages.encoder.decode_audio_isolated

    def held(data: bytes, **options: Any) -> Audio:
        begun.set()
        assert may_end.wait(60)
        return decode(data, **options)

    monkeypatch.setattr(serving.stages.encoder, "decode_audio_isolated", held)
    encoder = Encoder(Settings())
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(encoder.encode, job(song), SPEC) for _ in range(4)]
        assert begun.wait(60)
        may_end.set()
        songs = [conditioning.result(60).music for conditioning in asked]
    assert len(decoded) == 1
    assert all(music is songs[0] for music in songs)


def test_a_song_that_cannot_be_decoded_is_not_remembered(decoded: list[int]) -> None:
    encoder = Encoder(Settings())
    for _ in range(2):
        with pytest.raises(InvalidInput) as caught:
            encoder.encode(job(b"not audio at all"), SPEC)
        assert caught.value.field == "audio"
    assert len(decoded) == 2
