"""The encoding stage: song bytes and prompt to what networks and the phrase library are asked by."""

import hashlib
import threading
from dataclasses import replace
from typing import Final, Protocol

import numpy as np

from choreo.generators.base import Conditioning
from choreo.generators.text_segments import TextSegment
from choreo.motion.skeleton import FPS, WINDOW
from choreo.music.audio import SAMPLE_RATE, Audio
from choreo.music.encoded import MusicFeatures, precomputed
from choreo.music.encoders import MusicEncoder, music_encoder
from choreo.music.isolated import decode_audio_isolated
from choreo.music.repeats import repeated_frames
from choreo.music.rhythm import Rhythm, with_rhythm_as_said
from choreo.music.song_beats import SongBeats, given_beats, heard_beats
from choreo.music.structure import find_sections
from choreo.text.encoders import TextEncoder, text_encoder
from retrieval.library.embedding import Query
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.figures import CacheFigures, StageFigures
from serving.pipeline.length_checks import check_samples, check_start
from serving.pipeline.request import MotionRequest
from serving.settings import Settings
from serving.stages.music_query import music_query
from serving.stages.song_cache import EncodedSong, SongCache
from serving.util.threads import Threads

NO_BEATS: Final = "no beats were found in the song"
NOTHING_REPEATED: Final = "no section of the song comes again within the dance, so that none was repeated"


class EncoderNames(Protocol):
    """What the stage must know of a generator, as its spec says it."""

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
    def window(self) -> int:
        """Frames of a window."""


class Encoder:
    """Music and text encoders by the names that generators give, each loaded at its first use.

    Encoded songs are kept within `Settings.song_cache_bytes`, because songs repeat.
    """

    def __init__(self, settings: Settings, threads: int = 4) -> None:
        self._settings = settings
        self._threads = Threads(threads)
        self._lock = threading.Lock()
        self._music: dict[str, MusicEncoder] = {}
        self._text: dict[str, TextEncoder] = {}
        self._songs = SongCache(settings.song_cache_bytes)

    async def warm_up(self, spec: EncoderNames) -> None:
        """Load the text encoder and compile the audio code, so that the first request need not wait for it.

        Raises:
            MissingDependency: the generator's text encoder is not on this machine.
        """
        await self._threads.run(self._warm_up, spec)

    async def encode(self, request: MotionRequest, spec: EncoderNames) -> EncodedRequest:
        """Decode and encode song and prompt with the encoders of a generator.

        Raises:
            InvalidInput: the song cannot be decoded, is too long, ends before its beats that were said, or its features
                do not fit the generator.
            MissingDependency: the generator's encoder is not on this machine.
            BackendUnavailable: the encoder's process failed.
        """
        return await self._threads.run(self._encode, request, spec)

    async def figures(self) -> StageFigures:
        """How useful the cache of songs is."""
        songs = self._songs
        return StageFigures(caches={"song": CacheFigures(songs.hits, songs.misses, songs.held_bytes)})

    def close(self) -> None:
        """End the threads, and the processes of music encoders."""
        self._threads.close()
        for encoder in self._music.values():
            encoder.close()

    def _warm_up(self, spec: EncoderNames) -> None:
        self._text_encoder(spec.text_encoder).encode(["dance"])
        if spec.music_encoder == "dsp35":  # Jukebox takes gigabytes, and requests may bring their features along
            time = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
            tone = (0.5 * np.sin(2 * np.pi * 440 * time) * np.exp(-4 * (time % 0.5))).astype(np.float32)
            self._music_encoder(spec.music_encoder).encode(Audio(tone, SAMPLE_RATE, 6.0, ""))

    def _encode(self, request: MotionRequest, spec: EncoderNames) -> EncodedRequest:
        song, music = _as_said(self._song(request, spec), request.rhythm) or (None, None)
        num_frames = self._num_frames(request, song)
        check_samples(request.num_samples, num_frames, self._settings)
        text = None if request.text is None else self._text_encoder(spec.text_encoder).encode([request.text])[0]
        query = Query(text=text, music=music)
        segments = self._segments(request, spec)
        if song is None:
            conditioning = Conditioning(num_frames, text=text, segments=segments)
            return EncodedRequest(conditioning, query, spec.text_encoder)
        # What lies behind the last window reaches no network, and wide features of a long song weigh a lot.
        features = song.features[: num_frames + spec.window]
        sections = find_sections(song) if request.repeat_sections else ()
        repeats, notes = repeated_frames(sections, num_frames), song.notes
        if request.repeat_sections and repeats is None:
            notes = (*notes, NOTHING_REPEATED)
        conditioning = Conditioning(
            num_frames, features, text, song.beats, song.onset, song.downbeats, segments, repeats
        )
        beats = _song_beats(song, request.rhythm)
        return EncodedRequest(conditioning, query, spec.text_encoder, song.tempo, song.digest, notes, beats, sections)

    def _segments(self, request: MotionRequest, spec: EncoderNames) -> tuple[TextSegment, ...]:
        if not request.segments:
            return ()
        texts = self._text_encoder(spec.text_encoder).encode([segment.text for segment in request.segments])
        spans = [(round(segment.start * FPS), round(segment.end * FPS)) for segment in request.segments]
        return tuple(TextSegment(first, stop, text) for (first, stop), text in zip(spans, texts, strict=True))

    def _num_frames(self, request: MotionRequest, song: MusicFeatures | None) -> int:
        if request.num_frames is not None:
            return request.num_frames
        if song is None:
            return WINDOW
        limit = round(self._settings.max_seconds * FPS)
        frames = min(song.num_frames, limit)
        if request.start is not None:
            check_start(request.start, frames)
        return frames

    def _song(self, request: MotionRequest, spec: EncoderNames) -> EncodedSong | None:
        if request.features is not None:
            song = precomputed(request.features, expected_dim=spec.music_dim)
            return song, music_query(song)
        if request.audio is None:
            return None
        data, encoder = request.audio, self._music_encoder(spec.music_encoder)

        def encode() -> EncodedSong:
            limit = self._settings.max_song_seconds
            audio = decode_audio_isolated(data, max_seconds=limit, sample_rate=encoder.sample_rate)
            song = encoder.encode(audio)
            notes = audio.notes if len(song.beats) else (*audio.notes, NO_BEATS)
            return replace(song, notes=notes), music_query(song)

        return self._songs.get((encoder.name, encoder.tracker, hashlib.sha256(data).digest()), encode)

    def _music_encoder(self, name: str) -> MusicEncoder:
        with self._lock:
            return self._music.setdefault(name, music_encoder(name, self._settings.beat_tracker))

    def _text_encoder(self, name: str) -> TextEncoder:
        with self._lock:
            return self._text.setdefault(name, text_encoder(name))


def _song_beats(song: MusicFeatures, rhythm: Rhythm) -> SongBeats:
    """The beats of a song; those that the caller said are sure."""
    if rhythm.bpm is not None or rhythm.beats is not None:
        return given_beats(song.beats)
    return heard_beats(song.beats, song.onset)


def _as_said(encoded: EncodedSong | None, rhythm: Rhythm) -> EncodedSong | None:
    """A song with the beats that were said, for the networks and for the phrase library."""
    if encoded is None or rhythm.field is None:
        return encoded
    song = with_rhythm_as_said(encoded[0], rhythm)
    if len(song.beats):
        song = replace(song, notes=tuple(note for note in song.notes if note != NO_BEATS))
    return song, music_query(song)
