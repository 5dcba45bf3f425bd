"""Files of finished motion."""

from pathlib import Path

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.files import Format
from choreo.music.synth import synthesize_song, write_wav
from serving.stages.finisher import render


def test_a_film_has_the_song_as_its_sound(tmp_path: Path) -> None:
    samples, rate, _ = synthesize_song(120.0, 1.0)
    write_wav(tmp_path / "song.wav", samples, rate)
    motion = Motion(np.zeros((6, 22, 3), np.float32))
    film = render(motion, Format.MP4, (tmp_path / "song.wav").read_bytes(), "a title")
    assert film[4:8] == b"ftyp"
    assert b"mp4a" in film
    assert b"mp4a" not in render(motion, Format.MP4, None, "")
    with pytest.raises(InvalidInput) as caught:
        render(motion, Format.MP4, b"no song", "")
    assert caught.value.field == "audio"
    assert str(tmp_path.parent) not in str(caught.value)
