"""A motion phrase: a few counts of dancing with everything that is known about them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.data.windows.captions import attributes
from choreo.errors import InvalidInput
from choreo.evaluation.kinematics import kinetic_energy
from choreo.motion.kinematics import heading
from choreo.motion.representation import decode, encode
from choreo.motion.skeleton import FPS, HEAD, L_FOOT, PELVIS, R_FOOT
from choreo.music.beats import tempo_of

Array = NDArray[np.float64]

STATS: Final = (
    "speed", "speed_spread", "arm_speed", "leg_speed", "travel", "net_travel", "turning", "net_turn", "arm_height",
    "arm_spread", "stance", "crouch", "vertical_range", "bounce",
)  # fmt: skip
"""Names of the motion statistics, in order; all are invariant to the dancer's position and heading."""
MILLIMETRES: Final = 1000
MAX_COORDINATE: Final = np.iinfo(np.int16).max / MILLIMETRES
"""Farthest coordinate from the phrase's start that int16 millimetres can hold, metres."""

_WRISTS, _FEET = (20, 21), (L_FOOT, R_FOOT)
_ARMS, _LEGS = (18, 19, 20, 21), (4, 5, 7, 8, 10, 11)


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """One phrase of a library.

    Attributes:
        id: 16 hex digits, a hash of motion, caption and genre; equal phrases have equal ids.
        source: name of the recording it was cut from.
        start: its first frame in the recording, seconds.
        licence: tag of the recording's terms.
        caption: a sentence, or empty.
        genre: kind of dance, or empty.
        style: manner of dancing in its maker's words, or empty.
        words: all that the text encoder and rerankers read of it; made by `words`.
        tempo: beats per minute, 0 if unknown.
        beat_strength: how far onsets stand out on beats, 0 to 1; None without music.
        energy: mean kinetic energy of unit joint masses, m^2/s^2.
        num_frames: T, at 30 fps.
        first_row: its first frame in the library's motion array.
        beats: seconds within the phrase, including its closing beat at T / 30.
        stats: motion statistics in the order of `STATS`.
        music: summary of the recording's music in the order of `SUMMARY`; None without music.
    """

    id: str
    source: str
    start: float
    licence: str
    caption: str
    genre: str
    style: str
    words: str
    tempo: float
    beat_strength: float | None
    energy: float
    num_frames: int
    first_row: int
    beats: tuple[float, ...]
    stats: tuple[float, ...]
    music: tuple[float, ...] | None

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.num_frames / FPS


def describe(
    positions: NDArray[np.floating],
    *,
    beats: ArrayLike = (),
    caption: str = "",
    genre: str = "",
    style: str = "",
    source: str = "",
    start: float = 0.0,
    licence: str = "",
    beat_strength: float | None = None,
    music: Sequence[float] | None = None,
) -> tuple[Phrase, NDArray[np.int16]]:
    """The phrase of a motion, with `first_row` 0, and its stored form (T, 22, 3) in millimetres.

    Args:
        positions: (T, 22, 3) on the canonical skeleton at 30 fps, metres, in any place and heading, floor at y = 0.
        beats: seconds from the first frame; those outside the phrase are left out.
        caption, genre, style, source, start, licence, beat_strength, music: attributes of the phrase.
    Raises:
        InvalidInput: fewer than two frames, NaN, or motion beyond the range of int16 millimetres.
    """
    stats = motion_stats(positions)
    rows = quantise(canonical(positions))
    grid = beats_within(beats, len(positions))
    digest = hashlib.sha256(rows.tobytes() + f"\0{caption}\0{genre}".encode()).hexdigest()
    phrase = Phrase(
        id=digest[:16],
        source=source,
        start=round(start, 3),
        licence=licence,
        caption=caption,
        genre=genre,
        style=style,
        words=words(positions, caption, genre, style),
        tempo=round(tempo_of(grid), 3),
        beat_strength=beat_strength,
        energy=round(kinetic_energy(positions), 6),
        num_frames=len(positions),
        first_row=0,
        beats=tuple(round(float(b), 4) for b in grid),
        stats=stats,
        music=None if music is None else tuple(round(float(value), 6) for value in music),
    )
    return phrase, rows


def canonical(positions: NDArray[np.floating]) -> Array:
    """The same motion (T, 22, 3), moved to start at x = z = 0 and face +z."""
    turned, _ = encode(positions, FPS, float(heading(np.asarray(positions)[:1])[0]))
    return decode(turned, FPS)


def quantise(positions: NDArray[np.floating]) -> NDArray[np.int16]:
    """Metres (T, 22, 3) to whole millimetres.

    Raises:
        InvalidInput: a coordinate is beyond 32.7 m, or NaN.
    """
    if not np.abs(positions).max() <= MAX_COORDINATE:
        raise InvalidInput("motion", f"leaves the {MAX_COORDINATE:.1f} m around its start, or is not finite")
    return np.rint(np.asarray(positions) * MILLIMETRES).astype(np.int16)


def beats_within(beats: ArrayLike, num_frames: int) -> Array:
    """Ascending beat times within the phrase or on its closing instant, T / 30 s."""
    times = np.asarray(beats, np.float64).reshape(-1)
    times = np.unique(times[np.isfinite(times)])
    tolerance = 0.5 / FPS
    inside = times[(times >= -tolerance) & (times <= num_frames / FPS + tolerance)]
    return np.clip(inside, 0, num_frames / FPS)


def motion_stats(positions: NDArray[np.floating]) -> tuple[float, ...]:
    """The numbers named in `STATS` of positions (T, 22, 3) at 30 fps; speeds in m/s, lengths in m, turns in radians.

    Speeds are of the joints relative to the pelvis; `travel` and `net_travel` are path and displacement of the pelvis
    over the floor per second, `turning` and `net_turn` the same for the heading; `arm_height` is the higher wrist over
    the head, `crouch` the lowest pelvis, `bounce` the mean vertical speed of the pelvis.

    Raises:
        InvalidInput: fewer than two frames.
    """
    p = np.asarray(positions, np.float64)
    if len(p) < 2:
        raise InvalidInput("motion", f"needs at least 2 frames, got {len(p)}")
    seconds = (len(p) - 1) / FPS
    root = p[:, PELVIS]
    floor = root[:, [0, 2]]
    velocity = np.linalg.norm(np.diff(p - root[:, None], axis=0), axis=-1) * FPS
    facing = np.unwrap(heading(p))
    wrists, feet = p[:, _WRISTS], p[:, _FEET]
    values = (
        velocity.mean(),
        velocity.mean(1).std(),
        velocity[:, _ARMS].mean(),
        velocity[:, _LEGS].mean(),
        np.linalg.norm(np.diff(floor, axis=0), axis=-1).sum() / seconds,
        np.linalg.norm(floor[-1] - floor[0]) / seconds,
        np.abs(np.diff(facing)).sum() / seconds,
        abs(facing[-1] - facing[0]) / seconds,
        (wrists[..., 1].max(1) - p[:, HEAD, 1]).mean(),
        np.linalg.norm(wrists[:, 0] - wrists[:, 1], axis=-1).mean(),
        np.linalg.norm((feet[:, 0] - feet[:, 1])[:, [0, 2]], axis=-1).mean(),
        root[:, 1].min(),
        np.ptp(root[:, 1]),
        np.abs(np.diff(root[:, 1])).mean() * FPS,
    )
    return tuple(round(float(value), 6) for value in values)


def beat_strength(onset: ArrayLike, beats: ArrayLike) -> float | None:
    """How far onsets stand out on beats: 1 if there are none elsewhere, 0 if beats are average; None without beats.

    Args:
        onset: (T,) onset strength at 30 fps.
        beats: seconds from the first frame.
    """
    envelope = np.asarray(onset, np.float64).reshape(-1)
    frames = np.rint(np.asarray(beats, np.float64).reshape(-1) * FPS).astype(int)
    frames = frames[(frames >= 0) & (frames < len(envelope))]
    if not len(frames):
        return None
    # Onset detection and beat tracking may differ by a frame.
    near = np.clip(frames[:, None] + (-1, 0, 1), 0, len(envelope) - 1)
    on, everywhere = float(envelope[near].max(1).mean()), float(envelope.mean())
    return float(np.clip((on - everywhere) / on, 0, 1)) if on > 0 else 0.0


def words(positions: NDArray[np.floating], caption: str, genre: str, style: str = "") -> str:
    """The text that stands for a phrase: its caption, genre and style unless the caption has them, and its motion."""
    features, _ = encode(positions)
    parts: Sequence[str] = [
        caption.strip().rstrip("."),
        *(tag for tag in (genre, style) if tag.lower() not in caption.lower()),
        *attributes(features, np.unwrap(heading(positions))),
    ]
    return ", ".join(part for part in parts if part)
