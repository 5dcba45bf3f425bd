"""Synthesised songs: repeatable, distinct, and with the tempo they claim."""

from pathlib import Path

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.music.audio import SAMPLE_RATE, Audio, decode_audio
from choreo.music.encoders import Dsp35Encoder
from choreo.music.synth import styles, synthesize_song, write_wav


@pytest.mark.parametrize("style", ["house", "waltz", "breakbeat"])
@pytest.mark.parametrize("tempo", [96, 120, 128])
def test_the_tempo_is_found_again(style: str, tempo: float) -> None:
    samples, rate, beats = synthesize_song(tempo, 12, style=style)
    music = Dsp35Encoder().encode(Audio(samples, rate, len(samples) / rate, "").at(SAMPLE_RATE))
    assert min(abs(music.tempo / (tempo * octave) - 1) for octave in (0.5, 1, 2)) < 0.04
    assert np.median([np.abs(beats - beat).min() for beat in music.beats]) < 0.05
    np.testing.assert_allclose(np.diff(beats), 60 / tempo)


@pytest.mark.parametrize("style", list(styles()))
def test_songs_are_repeatable_and_well_formed(style: str) -> None:
    first, rate, beats = synthesize_song(110, 3.3, seed=5, style=style)
    again, _, _ = synthesize_song(110, 3.3, seed=5, style=style)
    other, _, other_beats = synthesize_song(110, 3.3, seed=6, style=style)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(beats, other_beats)
    assert (first != other).any()
    assert (first.shape, first.dtype, rate) == ((round(3.3 * rate),), np.float32, 22_050)
    assert np.abs(first).max() == pytest.approx(0.9, abs=1e-6)
    assert beats.max() < 3.3


def test_styles_differ_in_where_the_energy_falls() -> None:
    """The kick's band, bar by bar: on every beat in house, on the first of three in a waltz."""
    loud = {}
    for style in styles():
        samples, rate, beats = synthesize_song(120, 12, style=style)
        starts = np.round(beats * rate).astype(int)
        window = np.hanning(rate // 8)
        spectra = [np.abs(np.fft.rfft(samples[s : s + len(window)] * window))[2:20].sum() for s in starts[:-1]]
        loud[style] = np.array(spectra) / max(spectra)
    assert loud["house"].min() > 0.4
    waltz = loud["waltz"][:21].reshape(-1, 3)
    assert (waltz[:, 0] > 1.5 * waltz[:, 1:].max(axis=1)).all()


def test_a_written_song_decodes_again(tmp_path: Path) -> None:
    samples, rate, _ = synthesize_song(seconds=2)
    write_wav(tmp_path / "song.wav", samples, rate)
    audio = decode_audio(tmp_path / "song.wav", sample_rate=rate)
    np.testing.assert_allclose(audio.samples, samples, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"style": "polka"}, "style"),
        ({"tempo": 0}, "tempo"),
        ({"tempo": float("nan")}, "tempo"),
        ({"seconds": 1e9}, "seconds"),
    ],
)
def test_impossible_songs_are_refused(options: dict, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        synthesize_song(**options)
    assert caught.value.field == field
