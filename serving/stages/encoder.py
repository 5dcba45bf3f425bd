"""The encoding stage: song bytes and prompt to what the networks condition on."""

import threading
from collections import OrderedDict

import numpy as np

from choreo.errors import InvalidInput
from choreo.generators.base import Conditioning
from choreo.generators.spec import GeneratorSpec
from choreo.motion.skeleton import FPS, WINDOW
from choreo.music.audio import SAMPLE_RATE, Audio
from choreo.music.encoders import MusicEncoder, MusicFeatures, music_encoder, precomputed
from choreo.music.isolated import decode_audio_isolated
from choreo.text.encoders import TextEncoder, text_encoder
from retrieval.library.embedding import Music, Query
from serving.pipeline.contracts import EncodedRequest
from serving.pipeline.request import MotionRequest
from serving.settings import Settings
from serving.stages.music_query import music_query
from serving.util.threads import Threads

CACHED_SONGS = 32

_Song = tuple[MusicFeatures, Music]
"""A song for the network, and for the phrase library."""


class Encoder:
    """Music and text encoders of one model family, loaded at first use; songs repeat, so their features are kept."""

    def __init__(self, settings: Settings, threads: int = 4) -> None:
        self._settings = settings
        self._threads = Threads(threads)
        self._lock = threading.Lock()
        self._music: dict[str, MusicEncoder] = {}
        self._text: dict[str, TextEncoder] = {}
        self._songs: OrderedDict[tuple[str, bytes], _Song] = OrderedDict()

    async def warm_up(self, spec: GeneratorSpec) -> None:
        """Load the text encoder and compile the audio code before the first request has to wait for it."""
        await self._threads.run(self._warm_up, spec)

    async def encode(self, request: MotionRequest, spec: GeneratorSpec) -> EncodedRequest:
        """Encode for a generator; errors as in `EncodeStage.encode`."""
        return await self._threads.run(self._encode, request, spec)

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def _warm_up(self, spec: GeneratorSpec) -> None:
        self._text_encoder(spec.text_encoder).encode(["dance"])
        if spec.music_encoder == "dsp35":  # Jukebox takes gigabytes; it comes with the first song, if one ever does
            time = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
            tone = (0.5 * np.sin(2 * np.pi * 440 * time) * np.exp(-4 * (time % 0.5))).astype(np.float32)
            self._music_encoder(spec.music_encoder).encode(Audio(tone, SAMPLE_RATE, 6.0, ""))

    def _encode(self, request: MotionRequest, spec: GeneratorSpec) -> EncodedRequest:
        song, music = self._song(request, spec) or (None, None)
        num_frames = self._num_frames(request, song)
        text = None if request.text is None else self._text_encoder(spec.text_encoder).encode([request.text])[0]
        query = Query(text=text, music=music)
        if song is None:
            return EncodedRequest(Conditioning(num_frames, text=text), query, spec.text_encoder)
        # What lies behind the last window reaches no network, and wide features of a long song weigh a lot.
        music_features = song.features[: num_frames + spec.window]
        conditioning = Conditioning(num_frames, music_features, text, song.beats, song.onset)
        return EncodedRequest(conditioning, query, spec.text_encoder, song.tempo, song.digest)

    def _num_frames(self, request: MotionRequest, song: MusicFeatures | None) -> int:
        if request.num_frames is not None:
            return request.num_frames
        if song is None:
            return WINDOW
        limit = round(self._settings.max_seconds * FPS)
        frames = min(song.num_frames, limit)
        if request.start is not None and request.start.num_frames >= frames:
            raise InvalidInput("start", f"has {request.start.num_frames} frames, which leaves nothing to generate")
        return frames

    def _song(self, request: MotionRequest, spec: GeneratorSpec) -> _Song | None:
        if request.features is not None:
            song = precomputed(request.features, expected_dim=spec.music_dim)
            return song, music_query(song)
        if request.audio is None:
            return None
        key = (spec.music_encoder, _digest(request.audio))
        with self._lock:
            if key in self._songs:
                self._songs.move_to_end(key)
                return self._songs[key]
        audio = decode_audio_isolated(request.audio, max_seconds=self._settings.max_song_seconds)
        song = self._music_encoder(spec.music_encoder).encode(audio)
        found = song, music_query(song)
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
