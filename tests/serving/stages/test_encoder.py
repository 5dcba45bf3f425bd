"""The encoding stage: the encoders that a model names, at their own sampling rate, and songs that repeat."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_text_encoders import save_tiny_clip

import choreo.music.jukebox
import serving.stages.encoder
from choreo.errors import InvalidInput, MissingDependency
from choreo.generators.spec import GeneratorSpec
from choreo.generators.unet.graphs import unet_spec
from choreo.music.audio import Audio
from choreo.music.encoded import MusicFeatures, precomputed
from choreo.music.synth import synthesize_song, write_wav
from serving.pipeline.contracts import EncodedRequest
from serving.pipeline.request import Attachments, MotionRequest, parse_fields, validated_request
from serving.settings import Settings
from serving.stages.encoder import Encoder

STATISTICS: Any = {"context_dim": 8, "mean": (0.0,) * 66, "std": (1.0,) * 66}
SPEC = unet_spec("m", **STATISTICS)
WIDE = unet_spec("m", music_encoder="jukebox", music_dim=4800, text_encoder="clip", text_dim=768, **STATISTICS)


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


def request(audio: bytes | None = None, features: np.ndarray | None = None, text: str | None = None) -> MotionRequest:
    made = validated_request(parse_fields({"text_prompt": text or "x"}), Attachments(), Settings())
    return replace(made, audio=audio, features=features, text=text)


def encode(encoder: Encoder, wanted: MotionRequest, spec: GeneratorSpec = SPEC) -> EncodedRequest:
    return asyncio.run(encoder.encode(wanted, spec))


@pytest.fixture
def encoder() -> Iterator[Encoder]:
    with closing(Encoder(Settings())) as made:
        yield made


def test_a_model_gets_vectors_of_the_encoders_that_it_names(
    encoder: Encoder, song: bytes, decoded: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_clip(tmp_path)
    monkeypatch.setenv("CHOREO_CLIP_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(choreo.music.jukebox, "JukeboxEncoder", FakeJukebox)
    encoded = [encode(encoder, request(song, text="a slow waltz"), spec) for spec in (WIDE, SPEC)]
    wide, narrow = (one.conditioning for one in encoded)
    assert decoded == [44_100, 15_360]
    assert wide.music is not None
    assert narrow.music is not None
    assert (wide.music == 44_100).all()
    assert (wide.music.shape, narrow.music.shape) == ((90, 4800), (90, 35))
    assert wide.text is not None
    assert narrow.text is not None
    assert (wide.text.shape, narrow.text.shape) == ((768,), (384,))
    assert [one.text_encoder for one in encoded] == ["clip", "minilm"]
    assert encoded[0].tempo == pytest.approx(120, rel=0.05)
    np.testing.assert_allclose(wide.onset, narrow.onset, atol=1e-3)  # decoded at another rate


@pytest.mark.parametrize(("spec", "columns"), [(SPEC, 4800), (WIDE, 35)])
def test_features_of_another_width_are_refused(encoder: Encoder, spec: GeneratorSpec, columns: int) -> None:
    with pytest.raises(InvalidInput, match=f"the model takes {spec.music_dim} columns, got {columns}") as caught:
        encode(encoder, request(features=np.zeros((90, columns), np.float32)), spec)
    assert caught.value.field == "features"


def test_an_encoder_that_is_not_here_is_said_to_be_missing(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHOREO_CLIP_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingDependency, match="CHOREO_CLIP_WEIGHTS"):
        asyncio.run(encoder.warm_up(WIDE))
    with pytest.raises(MissingDependency, match="CHOREO_CLIP_WEIGHTS"):
        encode(encoder, request(text="a"), WIDE)


def test_songs_that_repeat_are_decoded_once(encoder: Encoder, song: bytes, decoded: list[int]) -> None:
    first, second = (encode(encoder, request(song)).conditioning.music for _ in range(2))
    assert first is not None
    assert second is not None
    assert np.shares_memory(first, second)
    assert len(decoded) == 1
    with closing(Encoder(Settings(song_cache_bytes=0))) as without:
        for _ in range(2):
            encode(without, request(song))
    assert len(decoded) == 3


def test_equal_songs_at_the_same_time_are_decoded_once(
    encoder: Encoder, song: bytes, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    decode: Callable[..., Audio] = serving.stages.encoder.decode_audio_isolated

    def held(data: bytes, **options: Any) -> Audio:
        begun.set()
        assert may_end.wait(60)
        return decode(data, **options)

    monkeypatch.setattr(serving.stages.encoder, "decode_audio_isolated", held)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(encode, encoder, request(song)) for _ in range(4)]
        assert begun.wait(60)
        may_end.set()
        songs = [one.result(60).conditioning.music for one in asked]
    assert len(decoded) == 1
    assert all(np.shares_memory(music, songs[0]) for music in songs)  # type: ignore[arg-type]


def test_a_song_that_cannot_be_decoded_is_not_remembered(encoder: Encoder, decoded: list[int]) -> None:
    for _ in range(2):
        with pytest.raises(InvalidInput) as caught:
            encode(encoder, request(b"not audio at all"))
        assert caught.value.field == "audio"
    assert len(decoded) == 2
