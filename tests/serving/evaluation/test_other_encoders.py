"""Evaluation of a generator whose music encoder is not the default one."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from choreo.client import AsyncClient
from choreo.data.synthetic.clips import synthetic_clips
from choreo.data.synthetic.dances import MOVES, synthesize_dance
from choreo.errors import BackendUnavailable, MissingDependency, UnexpectedAnswer
from choreo.motion.formats.npz import write_npz
from choreo.motion.skeleton import WINDOW
from choreo.music.audio import Audio
from choreo.music.encoded import JUKEBOX_DIM, MusicFeatures, with_rhythm
from choreo.music.feature_cache import training_encoder
from choreo.music.features import dsp35
from choreo.music.synth import synthesize_song, write_wav
from choreo.shipped import shipped
from serving.evaluation.dancers import Server
from serving.evaluation.harness import EvaluationRequest, music_encoder_name, open_scene
from serving.evaluation.stretches import held_out_stretches
from serving.http.ingress import create_app
from serving.settings import Settings

SETTINGS = Settings(text_motion=Path("nowhere"))


class FakeWideEncoder:
    """The width and the name of Jukebox, without its network."""

    name, dim, sample_rate, tracker = "jukebox", JUKEBOX_DIM, 22050, "beatnet"

    def encode(self, audio: Audio) -> MusicFeatures:
        columns = dsp35(audio)
        return with_rhythm(np.resize(columns, (len(columns), self.dim)), columns, self.name, "digest")

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dances with features that were computed elsewhere."""
    folder, moves = tmp_path_factory.mktemp("data"), sorted(MOVES)
    for i in range(8):
        motion, _, _ = synthesize_dance(moves[i % len(moves)], 120, 8.0, i)
        write_npz(motion, folder / f"dance_{i}.npz")
        np.save(folder / f"dance_{i}.jukebox.npy", np.full((motion.num_frames, JUKEBOX_DIM), i, np.float16))
    return folder


def test_precomputed_features_are_danced_to_where_the_encoder_is_missing(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("CHOREO_JUKEBOX_PYTHON", raising=False)
    with caplog.at_level(logging.WARNING):
        scene = open_scene(EvaluationRequest(data, samples=4), SETTINGS, training_encoder("jukebox"))
    assert scene.judge.stretches
    for stretch in scene.judge.stretches:
        assert stretch.beats is None
        assert stretch.music is not None
        assert stretch.music.shape == (WINDOW, JUKEBOX_DIM)
        assert stretch.key.startswith(f"dance_{int(stretch.music[0, 0])}@")
    assert "no motion is warped onto songs with known beats" in caplog.text


def test_songs_are_encoded_as_the_generator_hears_them(data: Path) -> None:
    scene = open_scene(EvaluationRequest(data, samples=4), SETTINGS, FakeWideEncoder())
    paired = [s for s in scene.judge.stretches if s.beats is not None]
    assert paired
    assert {s.music.shape for s in scene.judge.stretches if s.music is not None} == {(WINDOW, JUKEBOX_DIM)}


def test_a_recording_that_has_to_be_encoded_asks_for_the_encoder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHOREO_JUKEBOX_PYTHON", raising=False)
    monkeypatch.setenv("CHOREO_MUSIC_CACHE", str(tmp_path / "cache"))
    for i in range(2):
        write_npz(synthesize_dance("walk", 120, 8.0, i)[0], tmp_path / f"dance_{i}.npz")
        samples, rate, _ = synthesize_song(120.0, 8.0)
        write_wav(tmp_path / f"dance_{i}.wav", samples, rate)
    with pytest.raises(MissingDependency, match="or pass precomputed features"):
        open_scene(EvaluationRequest(tmp_path, samples=2), SETTINGS, training_encoder("jukebox"))


def test_the_encoder_is_the_generators() -> None:
    request = EvaluationRequest(Path("data"), checkpoint=shipped("weights", "unet-small"))
    assert asyncio.run(music_encoder_name(request, SETTINGS)) == "dsp35"


def test_a_server_says_which_encoder_it_uses(stages: Any) -> None:
    async def ask(transport: httpx.AsyncBaseTransport) -> str:
        async with AsyncClient("http://server.test", transport=transport) as client:
            return await Server(client).music_encoder()

    assert asyncio.run(ask(httpx.ASGITransport(create_app(Settings(), stages.stages())))) == "dsp35"
    model = {"name": "a", "window": 196, "fps": 30, "default": True}
    answers: tuple[dict[str, Any], ...] = ({}, {"models": []}, {"models": [model]}, {"models": [{"default": True}]})
    for answer in answers:
        transport = httpx.MockTransport(lambda request, answer=answer: httpx.Response(200, json=answer))
        with pytest.raises((BackendUnavailable, UnexpectedAnswer)):
            asyncio.run(ask(transport))


def test_a_single_stretch_can_be_asked_for(tmp_path: Path) -> None:
    (stretch,) = held_out_stretches(synthetic_clips(2), tmp_path, 1)
    assert stretch.beats is None
