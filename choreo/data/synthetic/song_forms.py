"""Synthesised songs of several sections, whose form is known: A, B, A and so on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.music.audio import Audio
from choreo.music.synth import Style, styles, synthesize_song

MAX_SECTIONS: Final = 32
FORMS: Final = ("ABAB", "ABACAB", "AABA", "ABCB", "ABCABC", "ABAC")
"""Forms of popular songs: verse and chorus, with a bridge, and the thirty-two bars of AABA."""
BREATH: Final = 0.01
"""Noise that makes no two repetitions equal, relative to the peak."""


@dataclass(frozen=True)
class FormedSong:
    """A song and what is known of it.

    Attributes:
        audio: mono.
        beats, downbeats: seconds.
        labels: of the sections, in order.
        edges: (n + 1,) seconds at which sections begin, and the end.
    """

    audio: Audio
    beats: NDArray[np.float64]
    downbeats: NDArray[np.float64]
    labels: tuple[str, ...]
    edges: NDArray[np.float64]


def formed_song(
    form: str, bars: Sequence[int] | int = 8, tempo: float = 120.0, seed: int = 0, style: str = "house"
) -> FormedSong:
    """A song whose sections are synthesised from one bar of music for each letter, in one key.

    Letters differ in drums, bass and chords, as the seed says; repetitions differ in loudness and noise only.

    Args:
        form: a letter for each section, such as `ABAB`.
        bars: of each section, or of all of them.
        tempo: BPM.
        seed: of key and letters.
        style: name in `choreo.music.synth.styles` of the first letter; its metre is that of all.

    Raises:
        InvalidInput: no sections or too many, lengths that do not match them, or see `synthesize_song`.
    """
    if not (1 <= len(form) <= MAX_SECTIONS and form.isascii() and form.isupper()):
        raise InvalidInput("form", f"must be 1 to {MAX_SECTIONS} letters from A to Z, got {form[:40]!r}")
    lengths = [bars] * len(form) if isinstance(bars, int) else list(bars)
    if len(lengths) != len(form) or min(lengths) < 1:
        raise InvalidInput("bars", f"must be a number from 1 on for each of the {len(form)} sections")
    if style not in styles():
        raise InvalidInput("style", f"must be one of {', '.join(styles())}, got {style!r}")
    base = styles()[style]
    bar = base.beats_per_bar * 60 / tempo
    letters = dict(zip(dict.fromkeys(form), _letters(base, len(set(form)), seed), strict=True))
    rng = np.random.default_rng([seed, 1])
    edges = np.cumsum([0, *lengths]) * bar
    parts = []
    for letter, (start, end) in zip(form, pairwise(edges), strict=True):
        samples, rate, _ = synthesize_song(tempo, end - start, seed, letters[letter])
        count = round(end * rate) - round(start * rate)
        part = np.zeros(count)
        part[: len(samples)] = samples[:count]
        parts.append(rng.uniform(0.8, 1.0) * part + BREATH * rng.standard_normal(count))
    song = np.concatenate(parts)
    audio = Audio((0.9 * song / np.abs(song).max()).astype(np.float32), rate, len(song) / rate, "")
    beats = np.arange(0, edges[-1] - 1e-6, 60 / tempo)
    return FormedSong(audio, beats, beats[:: base.beats_per_bar], tuple(form), edges)


def _letters(base: Style, count: int, seed: int) -> list[Style]:
    """Bars of music for as many letters: the base, and others that differ from it and each other."""
    rng = np.random.default_rng([seed, 2])
    order = [0, *(1 + rng.permutation(len(_CHANGES)))]
    made = [base, *(_varied(base, change) for change in _CHANGES)]
    return [made[order[i % len(order)]] for i in range(count)]


@dataclass(frozen=True)
class _Change:
    """How a letter differs from the base: None leaves a voice as it is. `hats` are beats from one to the next."""

    semitones: int
    kick: tuple[float, ...] | None = None
    snare: tuple[float, ...] | None = None
    hats: float | None = None
    bass: tuple[float, ...] | None = None


_CHANGES: Final = (
    _Change(5, kick=(0,), snare=(), hats=2),
    _Change(-3, hats=0.25, bass=(0,)),
    _Change(2, kick=(), snare=(), bass=(0, 1)),
    _Change(-5, snare=(1,), hats=4, bass=(0, 0.5, 1, 1.5)),
)


def _varied(base: Style, change: _Change) -> Style:
    """The base with other drums and bass, and its chords moved by some semitones and played backwards."""
    hat = base.hat if change.hats is None else tuple(np.arange(0, base.beats_per_bar, change.hats).tolist())
    return replace(
        base,
        kick=base.kick if change.kick is None else change.kick,
        snare=base.snare if change.snare is None else change.snare,
        hat=hat,
        bass=base.bass if change.bass is None else change.bass,
        chords=tuple(tuple(note + change.semitones for note in chord) for chord in reversed(base.chords)),
    )
