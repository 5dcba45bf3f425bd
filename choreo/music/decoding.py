"""The one way from the bytes of a song to its samples: features and the sound of films are decoded by this.

libsndfile goes first. ffmpeg has its turn where libsndfile fails, or stops before the end of the file because a header
promised less than there is, and the longer result is kept. What counts is what was decoded; where a file says that
there should be more, a note says so.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.music.channels import ChannelSurvey, to_mono, to_stereo
from choreo.music.ffmpeg_source import FfmpegSource
from choreo.music.lengths import ends_abruptly, mpeg_start, promised_share
from choreo.music.limits import MAX_AMPLITUDE, MAX_CHANNELS, MAX_SOURCE_RATE, MIN_SECONDS, MIN_SOURCE_RATE
from choreo.music.sources import Heading, LibsndfileSource, Source, Unreadable

Mix = Literal["mean", "heard", "stereo"]
"""To mono by the mean of all channels, as a mono player does it; to mono without channels that are silent or cancel; or
to stereo without them."""
NO_SAMPLES: Final = "the audio holds no samples"
_TAG_BYTES: Final = 256
"""What may lie behind the last frame of a song without being looked at: an ID3v1 tag has 128."""
_TOLERANCE: Final = 0.1
"""Seconds by which lengths that are stated differ from those that are decoded without a note."""
_MIXES: Final = {"mean": (to_mono, 1), "heard": (to_mono, 1), "stereo": (to_stereo, 2)}


@dataclass(frozen=True)
class Decoded:
    """A song's samples.

    Attributes:
        samples: float32 (N, 1) or (N, 2) at the rate that was asked for, full scale 1.
        seconds: what was decoded, counted in frames of the source.
        peak: largest magnitude in any channel of the source.
        notes: sentences on what was left out or is missing.
    """

    samples: NDArray[np.float32]
    seconds: float
    peak: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Take:
    """What one decoder made of a song."""

    samples: NDArray[np.float32]
    frames: int
    heading: Heading
    survey: ChannelSurvey
    heard: list[int]
    whole: bool
    claimed_seconds: float | None
    left_over: int
    damaged: bool
    data: bytes

    @property
    def seconds(self) -> float:
        return self.frames / self.heading.sample_rate


@dataclass(frozen=True)
class _Wish:
    """How a song is to be decoded; `first_seconds` is where to stop, `max_seconds` where to refuse."""

    mix: Mix
    sample_rate: int
    field: str
    max_seconds: float
    first_seconds: float


def decode(
    data: bytes, mix: Mix, sample_rate: int, field: str, max_seconds: float, first_seconds: float = math.inf
) -> Decoded:
    """Decode, mix and resample a song.

    Decoding, mixing and resampling (soxr HQ, `soxr_hq` in `librosa.resample`) stream block by block, and the limits
    are checked against what was decoded, so a header that lies about its length costs no memory.

    Args:
        data: the file.
        mix: how channels become one or two.
        sample_rate: of the result, Hz.
        field: named by errors.
        max_seconds: longer songs are refused.
        first_seconds: where to stop, however long the song is.

    Raises:
        InvalidInput: not audio, corrupt, NaN, too short, too long, too many channels or an unusual sampling rate.
        MissingDependency: only ffmpeg may be able to read it, and there is none.
    """
    wish = _Wish(mix, sample_rate, field, max_seconds, first_seconds)
    take = _whole_take(data, wish)
    if take.seconds < MIN_SECONDS and take.whole:
        raise InvalidInput(field, f"the audio is shorter than {MIN_SECONDS:g} s")
    notes = [*take.survey.notes(left_out=mix != "mean"), *_length_notes(take)]
    return Decoded(take.samples, take.seconds, take.survey.peak, tuple(notes))


def _whole_take(data: bytes, wish: _Wish) -> _Take:
    """The longest that the decoders make of a song."""
    take = _first_take(data, wish)
    if not take.whole or take.left_over <= _TAG_BYTES:
        return take
    try:
        second = _take(FfmpegSource, take.data, wish)
    except Unreadable:  # tags, or another kind of data, lie behind the sound
        return take
    return second if second.seconds > take.seconds + _TOLERANCE / 2 else take


def _first_take(data: bytes, wish: _Wish) -> _Take:
    """The song by the first decoder that can read it.

    What lies before an mp3 is cut away, because neither decoder finds the frame behind it that says how much of the
    encoder's run-in is to be left out.
    """
    errors = []
    start = mpeg_start(data)
    for decoder, part in ((LibsndfileSource, data), (LibsndfileSource, data[start:]), (FfmpegSource, data)):
        if part is not data and not start:
            continue
        try:
            return _take(decoder, part, wish)
        except Unreadable as error:
            errors.append(error)
    raise next((error for error in errors if error.recognised), errors[-1])


def _take(decoder: Callable[[bytes, str], Source], data: bytes, wish: _Wish) -> _Take:
    """The song by one decoder; a second time, where the first shows that not all channels should be heard."""
    take = _pass(decoder, data, wish, None)
    heard = take.survey.heard()
    return take if wish.mix == "mean" or heard == take.heard else _pass(decoder, data, wish, heard)


def _pass(decoder: Callable[[bytes, str], Source], data: bytes, wish: _Wish, heard: list[int] | None) -> _Take:
    with closing(decoder(data, wish.field)) as source:
        heading = source.heading
        _check_heading(heading, wish.field)
        channels = list(range(heading.channels)) if heard is None else heard
        mix, width = _MIXES[wish.mix]
        survey = ChannelSurvey(heading.channels)
        # No song gets to twice its limit, so that stands for its end.
        limit = math.ceil(min(wish.first_seconds, 2 * wish.max_seconds) * heading.sample_rate)
        blocks = _counted(source, survey, limit, wish)
        mixed = (mix(block, channels) for block in blocks)
        samples, frames = resampled(mixed, heading.sample_rate, wish.sample_rate, width)
        if not frames:
            raise Unreadable(wish.field, NO_SAMPLES, recognised=True)
        whole = frames < limit
        return _Take(
            samples,
            frames,
            heading,
            survey,
            channels,
            whole,
            source.claimed_seconds() if whole else None,
            source.left_over(),
            source.damaged() if whole else False,
            data,
        )


def _check_heading(heading: Heading, field: str) -> None:
    if not 1 <= heading.channels <= MAX_CHANNELS:
        raise InvalidInput(field, f"must have between 1 and {MAX_CHANNELS} channels, got {heading.channels}")
    if not MIN_SOURCE_RATE <= heading.sample_rate <= MAX_SOURCE_RATE:
        limits = f"between {MIN_SOURCE_RATE} and {MAX_SOURCE_RATE} Hz"
        raise InvalidInput(field, f"sampling rate must be {limits}, got {heading.sample_rate}")


def _counted(source: Source, survey: ChannelSurvey, limit: int, wish: _Wish) -> Iterator[NDArray[np.float32]]:
    """Blocks (n, C) up to `limit` frames, measured, counted against the longest length and checked for NaN."""
    total = 0
    for whole_block in source.blocks():
        block = whole_block[: limit - total]
        total += len(block)
        if total > wish.max_seconds * source.heading.sample_rate:
            raise InvalidInput(wish.field, f"the audio is longer than the limit of {wish.max_seconds:g} s")
        # NaN and infinity survive the maximum, so one comparison catches them too.
        if not np.abs(block).max() <= MAX_AMPLITUDE:
            raise InvalidInput(wish.field, "the audio holds NaN, infinite or absurdly large samples")
        survey.add(block)
        yield block
        if total >= limit:
            return


def _length_notes(take: _Take) -> list[str]:
    """What to say where a file promises more sound than was found, ends in the middle, or is damaged."""
    if not take.whole:
        return []
    found = take.seconds
    promised = take.claimed_seconds or found * promised_share(take.data)
    if promised > found + _TOLERANCE:
        return [f"the song is cut off or damaged: {found:.1f} s were found, its file says {promised:.1f} s"]
    if ends_abruptly(take.data, take.heading.format):
        return [f"the song is cut off: its file ends in the middle, {found:.1f} s were found"]
    if take.damaged:
        return [f"parts of the song are damaged: {found:.1f} s could be decoded"]
    return []


def resampled(
    blocks: Iterator[NDArray[np.float32]], source_rate: int, target_rate: int, channels: int = 1
) -> tuple[NDArray[np.float32], int]:
    """All blocks (n, channels) at the target rate, and their source frames.

    The result is float32 (ceil(frames * target_rate / source_rate), channels).
    """
    import soxr

    stream = None
    if source_rate != target_rate:
        stream = soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32", quality="HQ")
    empty = np.zeros((0, channels), np.float32)
    frames, pieces = 0, [empty]
    for block in blocks:
        frames += len(block)
        pieces.append(block if stream is None else stream.resample_chunk(block).reshape(-1, channels))
    if stream is not None:
        pieces.append(stream.resample_chunk(empty, last=True).reshape(-1, channels))
    # The resampler may round its length either way; librosa pads or cuts to the ceiling.
    return fit(np.concatenate(pieces), math.ceil(frames * target_rate / source_rate)), frames


def fit(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Samples cut or zero-padded to (length, channels)."""
    return np.pad(samples[:length], ((0, max(0, length - len(samples))), (0, 0)))
