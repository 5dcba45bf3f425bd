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
from choreo.music.beat_tracking.beat_this import VARIABLE
from choreo.music.encoded import MusicFeatures, precomputed
from choreo.music.features import BEAT
from choreo.music.rhythm import AS_HEARD, Rhythm, said
from choreo.music.synth import synthesize_song, write_wav
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.fields import parse_fields
from serving.pipeline.phrases import PhraseQuery, RetrievalResult
from serving.pipeline.pipeline import provenance
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.results import SamplingResult
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.encoder import Encoder

STATISTICS: Any = {"context_dim": 8, "mean": (0.0,) * 66, "std": (1.0,) * 66}
SPEC = unet_spec("m", **STATISTICS)
WIDE = unet_spec("m", music_encoder="jukebox", music_dim=4800, text_encoder="clip", text_dim=768, **STATISTICS)


class FakeJukebox:
    """4800 columns that hold the sampling rate of the song."""

    name, dim, sample_rate = "jukebox", 4800, 44_100

    def __init__(self, tracker: str) -> None:
        self.tracker = tracker

    def encode(self, audio: Audio) -> MusicFeatures:
        return precomputed(np.full((audio.num_frames, self.dim), audio.sample_rate, np.float32), audio=audio)

    def close(self) -> None:
        pass


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
    assert decoded == [44_100, 22_050]
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


def test_what_is_said_of_a_song_comes_along_each_time(encoder: Encoder, song: bytes) -> None:
    assert encode(encoder, request(song)).notes == ()
    cut = song[: len(song) // 2]
    for _ in range(2):
        (note,) = encode(encoder, request(cut)).notes
        assert "1.5 s were found, its file says 3.0 s" in note
    silent = song[:44] + bytes(len(song) - 44)
    assert encode(encoder, request(silent)).notes == ("no beats were found in the song",)


@pytest.mark.parametrize(
    ("rhythm", "beats", "tempo"),
    [
        (said(None, [0.25, 1.0, 1.75, 2.5], False), [0.25, 1.0, 1.75, 2.5], 80),
        (said(80, [0.25, 1.0, 1.75, 2.5], True), [0.25, 1.75], 40),
        (said(60, None, False), None, 60),
        (said(60, None, True), None, 30),
    ],
)
def test_beats_that_are_said_take_the_place_of_those_heard(
    encoder: Encoder, song: bytes, decoded: list[int], rhythm: Rhythm, beats: list[float] | None, tempo: float
) -> None:
    heard = encode(encoder, request(song))
    wanted = replace(request(song), rhythm=rhythm)
    told = encode(encoder, wanted)
    assert len(decoded) == 1
    assert heard.conditioning.music is not None
    assert told.conditioning.music is not None
    used = told.conditioning.beats
    if beats is not None:
        np.testing.assert_array_equal(used, beats)
    np.testing.assert_array_equal(
        np.delete(told.conditioning.music, BEAT, 1), np.delete(heard.conditioning.music, BEAT, 1)
    )
    np.testing.assert_array_equal(np.flatnonzero(told.conditioning.music[:, BEAT]), np.rint(used * 30).astype(int))
    np.testing.assert_array_equal(told.conditioning.onset, heard.conditioning.onset)
    assert told.tempo == pytest.approx(tempo)
    assert told.query.music is not None
    assert told.query.music.tempo == told.tempo
    assert told.song == heard.song
    phrases = PhraseQuery.of(wanted.without_song(), told)
    assert phrases.beats is used
    sampled = SamplingResult(np.zeros((90, 66), np.float32), "m", 30, {})
    meta = provenance(wanted.without_song(), told, RetrievalResult(None), sampled)
    assert meta["tempo"] == pytest.approx(tempo)
    assert meta["beats"] == pytest.approx([time for time in used if time <= told.num_frames / 30], abs=1e-3)
    assert set(meta["downbeats"]) <= set(meta["beats"])
    again = encode(encoder, request(song))  # what is kept of the song is as it was
    np.testing.assert_array_equal(again.conditioning.music, heard.conditioning.music)
    assert (again.tempo, again.query.music) == (heard.tempo, heard.query.music)


def test_beats_of_features_that_were_brought_along(encoder: Encoder) -> None:
    columns = np.zeros((90, 35), np.float32)
    columns[::15, BEAT] = 1
    wanted = replace(request(features=columns), rhythm=said(None, [0.5, 1.5, 2.5], False))
    told = encode(encoder, wanted)
    np.testing.assert_array_equal(told.conditioning.beats, [0.5, 1.5, 2.5])
    assert columns[0, BEAT] == 1
    assert wanted.without_song().rhythm == AS_HEARD


def test_beats_beyond_the_song_are_named(encoder: Encoder, song: bytes) -> None:
    for wanted in (request(song), request(features=np.zeros((90, 35), np.float32))):
        with pytest.raises(InvalidInput) as caught:
            encode(encoder, replace(wanted, rhythm=said(None, [0, 1, 2, 3.5], False)))
        assert caught.value.field == "beats.3"


def test_beats_that_are_said_of_a_song_without_any_are_beats(encoder: Encoder, song: bytes) -> None:
    silent = replace(request(song[:44] + bytes(len(song) - 44)), rhythm=said(None, [0, 1], False))
    assert encode(encoder, silent).notes == ()
    still_none = replace(silent, rhythm=said(None, None, True))
    assert encode(encoder, still_none).notes == ("no beats were found in the song",)


def test_a_tracker_without_its_network_fails_when_the_server_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "none.onnx")
    with (
        closing(Encoder(Settings(beat_tracker="beat_this"))) as encoder,
        pytest.raises(MissingDependency, match=VARIABLE),
    ):
        asyncio.run(encoder.warm_up(SPEC))


def test_sections_that_come_again_are_found_where_they_are_asked_for() -> None:
    rng = np.random.default_rng(0)
    parts = {letter: np.tile(rng.standard_normal(35), (480, 1)) for letter in "AB"}
    features = np.concatenate([parts[letter] for letter in "ABA"]).astype(np.float32)
    features[:, BEAT] = np.arange(len(features)) % 15 == 0
    wanted = replace(request(features=features), repeat_sections=True)

    async def encode(*requests: MotionRequest) -> list[EncodedRequest]:
        with closing(Encoder(Settings())) as encoder:
            return [await encoder.encode(each, SPEC) for each in requests]

    asked, plain, cut = asyncio.run(
        encode(wanted, replace(wanted, repeat_sections=False), replace(wanted, num_frames=900))
    )
    assert [section.label for section in asked.sections] == list("ABA")
    assert asked.conditioning.repeats is not None
    np.testing.assert_array_equal(asked.conditioning.repeats[960:], np.arange(480))
    assert (plain.sections, plain.conditioning.repeats, cut.conditioning.repeats) == ((), None, None)
    assert [any("comes again" in note for note in each.notes) for each in (asked, plain, cut)] == [False, False, True]
    meta = provenance(wanted, asked, RetrievalResult(None), SamplingResult(features, "m", 30, {}))
    assert [section["label"] for section in meta["sections"]] == list("ABA")
    assert "sections" not in provenance(request(), plain, RetrievalResult(None), SamplingResult(features, "m", 30, {}))
