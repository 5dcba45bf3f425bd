"""The encoding stage: song bytes and prompt to what the networks condition on."""

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.generators.spec import ModelSpec
from choreo.motion.skeleton import FPS, WINDOW
from choreo.music.audio import SAMPLE_RATE, Audio
from choreo.music.beats import beat_phase_channels
from choreo.music.encoders import MusicEncoder, MusicFeatures, music_encoder, precomputed
from choreo.music.isolated import decode_audio_isolated
from choreo.text.encoders import TextEncoder, text_encoder
from retrieval.library.embedding import Music
from serving.pipeline.contracts import Conditioning
from serving.pipeline.request import MotionRequest
from serving.settings import Settings
from serving.stages.music_query import heard

CACHED_SONGS = 32

_Song = tuple[MusicFeatures, Music]
"""A song for the network, and for the phrase library."""


class Encoder:
    """Music and text encoders of one model family, loaded at first use; songs repeat, so their features are kept."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._music: dict[str, MusicEncoder] = {}
        self._text: dict[str, TextEncoder] = {}
        self._songs: OrderedDict[tuple[str, bytes], _Song] = OrderedDict()

    def warm_up(self, spec: ModelSpec) -> None:
        """Load the text encoder and compile the audio code before the first request has to wait for it."""
        self._text_encoder(spec.text_encoder).encode(["dance"])
        if spec.music_encoder == "dsp35":  # Jukebox takes gigabytes; it comes with the first song, if one ever does
            time = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
            tone = (0.5 * np.sin(2 * np.pi * 440 * time) * np.exp(-4 * (time % 0.5))).astype(np.float32)
            self._music_encoder(spec.music_encoder).encode(Audio(tone, SAMPLE_RATE, 6.0, ""))

    def encode(self, job: MotionRequest, spec: ModelSpec) -> Conditioning:
        """Blocking; call it from a thread.

        Raises:
            InvalidInput: the song cannot be decoded, is too long, or its features do not fit the model.
            MissingDependency: the model's encoder is not installed.
        """
        song, music = self._song(job, spec) or (None, None)
        num_frames = self._num_frames(job, song)
        text = None if job.text is None else self._text_encoder(spec.text_encoder).encode([job.text])[0]
        rhythm = np.zeros((num_frames, spec.rhythm_channels), np.float32)
        if song is None:
            return Conditioning(num_frames, None, rhythm, text, np.zeros(0), 0.0, None, None, spec.text_encoder)
        played = min(song.num_frames, num_frames)
        rhythm[:played] = beat_phase_channels(song.beats, song.onset, song.num_frames)[:played]
        return Conditioning(
            num_frames, song.features, rhythm, text, song.beats, song.tempo, song.digest, music, spec.text_encoder
        )

    def _num_frames(self, job: MotionRequest, song: MusicFeatures | None) -> int:
        if job.num_frames is not None:
            return job.num_frames
        if song is None:
            return WINDOW
        limit = round(self._settings.max_seconds * FPS)
        frames = min(song.num_frames, limit)
        if job.start is not None and job.start.num_frames >= frames:
            raise InvalidInput("start", f"has {job.start.num_frames} frames, which leaves nothing to generate")
        return frames

    def _song(self, job: MotionRequest, spec: ModelSpec) -> _Song | None:
        if job.features is not None:
            song = precomputed(job.features, expected_dim=spec.music_dim)
            return song, heard(song)
        if job.audio is None:
            return None
        key = (spec.music_encoder, _digest(job.audio))
        with self._lock:
            if key in self._songs:
                self._songs.move_to_end(key)
                return self._songs[key]
        audio = decode_audio_isolated(job.audio, max_seconds=self._settings.max_song_seconds)
        song = self._music_encoder(spec.music_encoder).encode(audio)
        found = song, heard(song)
        with self._lock:
            self._songs[key] = found
            while len(self._songs) > CACHED_SONGS:
                self._songs.popitem(last=False)
        return found

    def _music_encoder(self, name: str) -> MusicEncoder:
        with self._lock:
            return self._music.setdefault(name, music_encoder(name))

    def _text_encoder(self, name: str) -> TextEncoder:
        with self._lock:
            return self._text.setdefault(name, text_encoder(name))


def _digest(data: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(data).digest()


def window_music(conditioning: Conditioning, start: int, spec: ModelSpec) -> tuple[NDArray[np.float32], ...]:
    """Music frames (T, F) and mask (T,) of the window at `start`; zeros and a full mask where no song was given."""
    features = np.zeros((spec.window, spec.music_dim), np.float32)
    mask = np.zeros(spec.window, np.float32)
    if conditioning.music is None:
        mask[:] = 1
        return features, mask
    part = conditioning.music[start : start + spec.window]
    features[: len(part)] = part
    mask[: len(part)] = 1
    return features, mask
