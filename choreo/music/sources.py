"""A song in the hands of a decoder, and the first of the two decoders: libsndfile."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.music.lengths import has_frame_count
from choreo.music.limits import FORMATS

_FORMATS: Final = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "MPEG", "AIFF"})
_STREAMS: Final = frozenset({"FLAC", "OGG", "MP3", "MPEG"})
"""Formats in which everything to the end of the file may be sound; the others say which part of the file is."""
_UNKNOWN_FRAMES: Final = 1 << 62
_BLOCK_VALUES: Final = 1 << 18


class Unreadable(InvalidInput):
    """This decoder cannot read the song; another one may. `recognised`: it knows the format."""

    def __init__(self, field: str, message: str, recognised: bool = False) -> None:
        super().__init__(field, message)
        self.recognised = recognised


@dataclass(frozen=True)
class Heading:
    """What is known of a song before it is decoded."""

    format: str
    sample_rate: int
    channels: int

    @property
    def block_frames(self) -> int:
        """Frames of a block: a second, or less where that would be many values."""
        return max(1024, min(self.sample_rate, _BLOCK_VALUES // self.channels))


class Source(Protocol):
    """A song that is being decoded. What is said of its length holds once all blocks were read."""

    heading: Heading

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """All samples, (n, channels), full scale 1.

        Raises:
            Unreadable: decoding stopped with an error.
        """

    def claimed_seconds(self) -> float | None:
        """The length that the file states; None where it states none or the decoder had to guess."""

    def left_over(self) -> int:
        """Bytes of the file that the decoder did not read though they may be sound."""

    def damaged(self) -> bool:
        """Whether the decoder complained of parts of the song."""

    def close(self) -> None:
        """Free what the decoder holds."""


class LibsndfileSource:
    """A song decoded by libsndfile in this process.

    Raises:
        Unreadable: libsndfile cannot open it.
        InvalidInput: it can, but the format is not accepted.
    """

    def __init__(self, data: bytes, field: str) -> None:
        import soundfile

        self._field, self._data, self._file = field, data, io.BytesIO(data)
        try:
            self._sound: Any = soundfile.SoundFile(self._file)
        except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError) as error:
            raise Unreadable(field, f"not audio that can be read; send {FORMATS}") from error
        sound = self._sound
        self.heading = Heading(str(sound.format), int(sound.samplerate), int(sound.channels))
        if self.heading.format not in _FORMATS:
            self.close()
            raise InvalidInput(field, f"{self.heading.format} audio is not accepted; send {FORMATS}")

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """All samples, (n, channels).

        Raises:
            Unreadable: decoding stopped with an error.
        """
        import soundfile

        if self._sound.frames >= _UNKNOWN_FRAMES:
            # A FLAC that was written into a pipe: libsndfile reports an error at its end and loses the last block.
            raise Unreadable(self._field, "the audio does not tell how long it is", recognised=True)
        while True:
            try:
                block = self._sound.read(self.heading.block_frames, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError) as error:
                message = "the audio is corrupt: decoding stopped with an error"
                raise Unreadable(self._field, message, recognised=True) from error
            if not len(block):
                return
            yield block

    def claimed_seconds(self) -> float | None:
        """The length in the header, where it is stated there and not estimated or worked out from the file's size."""
        stated = self.heading.format == "FLAC" or has_frame_count(self._data)
        return self._sound.frames / self.heading.sample_rate if stated else None

    def left_over(self) -> int:
        """Bytes behind the last one that was read, in formats where they may be sound."""
        return len(self._data) - self._file.tell() if self.heading.format in _STREAMS else 0

    def damaged(self) -> bool:
        """False: libsndfile passes over damage without a word, or stops."""
        return False

    def close(self) -> None:
        """Close the file."""
        self._sound.close()
