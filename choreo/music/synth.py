"""Synthesised songs: drum and bass loops with known beats, for demonstrations, training and tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput

SAMPLE_RATE = 22_050
MIN_TEMPO = 40.0
MAX_TEMPO = 240.0
MAX_SECONDS = 600.0

_Signal = NDArray[np.float64]


@dataclass(frozen=True)
class Style:
    """A bar of music.

    Attributes:
        beats_per_bar: 3 or 4.
        kick, snare, hat, bass: positions in beats from the start of the bar.
        chords: semitones above the root, one chord per bar in turn.
        octave_hz: frequency of the root's bass note.
    """

    beats_per_bar: int
    kick: tuple[float, ...]
    snare: tuple[float, ...]
    hat: tuple[float, ...]
    bass: tuple[float, ...]
    chords: tuple[tuple[int, ...], ...]
    octave_hz: float


def styles() -> Mapping[str, Style]:
    """The styles by name: `house` (four on the floor), `waltz` (3/4) and `breakbeat` (syncopated)."""
    return {
        "house": Style(
            4,
            kick=(0, 1, 2, 3),
            snare=(1, 3),
            hat=(0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5),
            bass=(0.5, 1.5, 2.5, 3.5),
            chords=((0, 3, 7, 10), (-4, 0, 3, 7), (3, 7, 10, 14), (-2, 2, 5, 10)),
            octave_hz=55.0,
        ),
        "waltz": Style(
            3,
            kick=(0,),
            snare=(1, 2),
            hat=(0, 1, 2),
            bass=(0,),
            chords=((0, 4, 7), (-3, 0, 4), (5, 9, 12), (-5, -1, 2, 5)),
            octave_hz=65.4,
        ),
        "breakbeat": Style(
            4,
            kick=(0, 1.5, 2.5),
            snare=(1, 3, 3.75),
            hat=(0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5),
            bass=(0, 0.75, 2, 2.5),
            chords=((0, 3, 7), (0, 3, 7), (-2, 2, 5), (-4, 0, 3)),
            octave_hz=49.0,
        ),
    }


def synthesize_song(
    tempo: float = 120.0, seconds: float = 12.0, seed: int = 0, style: str | Style = "house"
) -> tuple[NDArray[np.float32], int, NDArray[np.float64]]:
    """A song at a strict tempo; equal arguments give equal samples.

    The seed chooses the key, the first chord, the loudness of each hat and small accents, not the timing.

    Args:
        tempo: BPM.
        seconds: length.
        seed: of the variations.
        style: name in `styles`, or a style.

    Returns:
        Samples float32 (N,), mono, peak 0.9; the sampling rate 22050; all beat times in seconds (n,).

    Raises:
        InvalidInput: unknown style, tempo outside 40..240 or seconds outside 0.1..600.
    """
    if isinstance(style, str) and style not in styles():
        raise InvalidInput("style", f"must be one of {', '.join(styles())}, got {style!r}")
    if not MIN_TEMPO <= tempo <= MAX_TEMPO:
        raise InvalidInput("tempo", f"must be between {MIN_TEMPO:g} and {MAX_TEMPO:g} BPM, got {tempo:g}")
    if not 0.1 <= seconds <= MAX_SECONDS:
        raise InvalidInput("seconds", f"must be between 0.1 and {MAX_SECONDS:g}, got {seconds:g}")
    rng = np.random.default_rng(seed)
    song = _arrange(styles()[style] if isinstance(style, str) else style, 60 / tempo, seconds, rng)
    beats = np.arange(0, seconds, 60 / tempo)
    return (0.9 * song / np.abs(song).max()).astype(np.float32), SAMPLE_RATE, beats


def write_wav(path: Path, samples: NDArray[np.float32], sample_rate: int) -> None:
    """Write mono samples as 16-bit PCM."""
    import soundfile

    soundfile.write(path, samples, sample_rate, subtype="PCM_16", format="WAV")


def _arrange(style: Style, beat: float, seconds: float, rng: np.random.Generator) -> _Signal:
    """All voices of all bars, mixed; `beat` is the length of a beat in seconds."""
    song = np.zeros(round(seconds * SAMPLE_RATE))
    bar = style.beats_per_bar * beat
    key = 2 ** (rng.integers(0, 8) / 12)
    first_chord = int(rng.integers(len(style.chords)))
    kick, snare, hat = _kick(), _snare(rng), _hat(rng)
    for number in range(int(np.ceil(seconds / bar))):
        start = number * bar
        chord = style.chords[(first_chord + number) % len(style.chords)]
        root = style.octave_hz * key * 2 ** (chord[0] / 12)
        for position in style.kick:
            _add(song, start + position * beat, kick, 1.0)
        for position in style.snare:
            _add(song, start + position * beat, snare, 0.55 if position == int(position) else 0.25)
        for position in style.hat:
            _add(song, start + position * beat, hat, rng.uniform(0.14, 0.22))
        for position in style.bass:
            _add(song, start + position * beat, _bass(root, 0.45 * beat), rng.uniform(0.4, 0.5))
        _add(song, start, _pad([4 * style.octave_hz * key * 2 ** (s / 12) for s in chord], bar), 0.12)
    return song


def _add(song: _Signal, at: float, sound: _Signal, gain: float) -> None:
    """Mix in a sound at a time in seconds, truncated at the end of the song."""
    start = round(at * SAMPLE_RATE)
    part = sound[: max(0, len(song) - start)]
    song[start : start + len(part)] += gain * part


def _time(seconds: float) -> _Signal:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def _kick() -> _Signal:
    """A sine that falls from 150 to 50 Hz."""
    t = _time(0.25)
    phase = 50 * t + 100 * 0.03 * (1 - np.exp(-t / 0.03))
    return np.sin(2 * np.pi * phase) * np.exp(-t / 0.08)


def _snare(rng: np.random.Generator) -> _Signal:
    """Noise over a 190 Hz tone."""
    t = _time(0.2)
    return (0.8 * rng.standard_normal(len(t)) + np.sin(2 * np.pi * 190 * t)) * np.exp(-t / 0.05)


def _hat(rng: np.random.Generator) -> _Signal:
    """Noise, high-passed by a first difference."""
    t = _time(0.06)
    return np.diff(rng.standard_normal(len(t) + 1)) * np.exp(-t / 0.015)


def _bass(frequency: float, seconds: float) -> _Signal:
    """A soft saw of four harmonics with short edges."""
    t = _time(seconds)
    tone = sum((np.sin(2 * np.pi * frequency * n * t) / n for n in range(1, 5)), np.zeros(len(t)))
    return tone * np.minimum(1, t / 0.01) * np.minimum(1, (seconds - t) / 0.03)


def _pad(frequencies: list[float], seconds: float) -> _Signal:
    """A chord of slightly beating sines that swells and fades."""
    t = _time(seconds)
    tones = (np.sin(2 * np.pi * f * t) + 0.5 * np.sin(2 * np.pi * 1.003 * f * t) for f in frequencies)
    return sum(tones, np.zeros(len(t))) * np.sin(np.pi * t / seconds) ** 0.5
