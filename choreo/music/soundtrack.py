"""The song of a film: decoded as for the features (`choreo.music.decoding`), but in stereo and in full quality."""

from pathlib import Path
from typing import Final

import numpy as np

from choreo.motion.formats.sound import FILM_RATE, Sound
from choreo.music.audio import read_source
from choreo.music.decoding import decode

_FULL_SCALE: Final = 32767


def decode_soundtrack(source: bytes | Path, seconds: float, field: str = "audio") -> Sound:
    """The first `seconds` of a song, or all of it where it is shorter.

    Float files that go beyond full scale are turned down, not clipped. What `decode_audio` leaves out because channels
    cancel or are silent is left out here too.

    Raises:
        InvalidInput: as for `choreo.music.audio.decode_audio`.
        MissingDependency: only ffmpeg may be able to read it, and there is none.
    """
    data = read_source(source, field)
    # The film's own length bounds it: whether the song is too long was decided before the dance.
    song = decode(data, "stereo", FILM_RATE, field, seconds + 1, first_seconds=seconds)
    samples = song.samples * (_FULL_SCALE / max(1.0, song.peak))
    # The resampler may overshoot a little.
    return Sound(np.clip(np.rint(samples), -_FULL_SCALE - 1, _FULL_SCALE).astype(np.int16))
