"""The encoding stage: song bytes and prompt to what the networks are conditioned on."""

import hashlib
import threading
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.generators.spec import ModelSpec
from choreo.motion.skeleton import FPS, WINDOW
from choreo.music.audio import SAMPLE_RATE, Audio
from choreo.music.beats import beat_phase_channels
from choreo.music.encoded import MusicFeatures, precomputed
from choreo.music.encoders import MusicEncoder, music_encoder
from choreo.music.isolated import decode_audio_isolated
from choreo.text.encoders import TextEncoder, text_encoder
from serving.pipeline.contracts import Conditioning
from serving.pipeline.request import MotionRequest
from serving.settings import Settings
from serving.stages.music_query import heard
from serving.stages.song_cache import EncodedSong, SongCache


class EncoderNames(Protocol):
    """What the stage must know of a model: its encoders by name, and widths that the arrays must have."""

    @property
    def music_encoder(self) -> str:
        """A name that `choreo.music.encoders.music_encoder` knows."""

    @property
    def music_dim(self) -> int:
        """Columns of music features."""

    @property
    def text_encoder(self) -> str:
        """A name that `choreo.text.encoders.text_encoder` knows."""

    @property
    def rhythm_channels(self) -> int:
        """Columns of the rhythm channels."""


class Encoder:
    """Music and text encoders by the names that models give, each loaded at its first use.

    Encoded songs are kept within `Settings.song_cache_bytes`, because songs repeat.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._music: dict[str, MusicEncoder] = {}
        self._text: dict[str, TextEncoder] = {}
        self._songs = SongCache(settings.song_cache_bytes)

    def warm_up(self, spec: EncoderNames) -> None:
        """Load the text encoder and compile the audio code, so that the first request need not wait for it.

        Raises:
            MissingDependency: the model's text encoder is not on this machine.
        """
        self._text_encoder(spec.text_encoder).encode(["dance"])
        if spec.music_encoder == "dsp35":  # Jukebox takes gigabytes, and requests may bring their features along
            time = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
            tone = (0.5 * np.sin(2 * np.pi * 440 * time) * np.exp(-4 * (time % 0.5))).astype(np.float32)
            self._music_encoder(spec.music_encoder).encode(Audio(tone, SAMPLE_RATE, 6.0, ""))

    def encode(self, job: MotionRequest, spec: EncoderNames) -> Conditioning:
        """Decode and encode song and prompt with the encoders of a model. Blocking; call it from a thread.

        Raises:
            InvalidInput: the song cannot be decoded, is too long, or its features do not fit the model.
            MissingDependency: the model's encoder is not on this machine.
            BackendUnavailable: the encoder's process failed.
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

    def _song(self, job: MotionRequest, spec: EncoderNames) -> EncodedSong | None:
        if job.features is not None:
            song = precomputed(job.features, expected_dim=spec.music_dim)
            return song, heard(song)
        if job.audio is None:
            return None
        data, encoder = job.audio, self._music_encoder(spec.music_encoder)

        def encode() -> EncodedSong:
            limit = self._settings.max_song_seconds
            audio = decode_audio_isolated(data, max_seconds=limit, sample_rate=encoder.sample_rate)
            song = encoder.encode(audio)
            return song, heard(song)

        return self._songs.get((encoder.name, hashlib.sha256(data).digest()), encode)

    def _music_encoder(self, name: str) -> MusicEncoder:
        with self._lock:
            return self._music.setdefault(name, music_encoder(name))

    def _text_encoder(self, name: str) -> TextEncoder:
        with self._lock:
            return self._text.setdefault(name, text_encoder(name))


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
