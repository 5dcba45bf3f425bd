"""From a recording of any actor to a clip on the canonical skeleton at 30 fps."""

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.clip import Caption, Clip, motion_features
from choreo.errors import InvalidInput
from choreo.motion.clip import check_positions
from choreo.motion.recorded import recorded
from choreo.motion.resample import resample
from choreo.motion.retarget import retarget
from choreo.motion.skeleton import FPS
from choreo.motion.units import LEG_METRES, leg_length
from choreo.motion.upright import AUTO
from choreo.music.beats import RHYTHM_CHANNELS, beat_phase_channels
from choreo.postprocess.floor import levelled

Array = NDArray[np.float64]

MIN_SECONDS: Final = 0.5
"""Shorter recordings are refused: they are too little to find the floor."""
MAX_MISSING_MUSIC_SECONDS: Final = 0.5
"""A song may end this much before the motion, which is then cut."""


@dataclass(frozen=True)
class Song:
    """Music that starts with the motion.

    Attributes:
        features: float32 (N, D) at 30 fps, not normalised.
        beats: (n,) seconds.
        onset: (N,) onset strength in 0..1.
        downbeats: (m,) seconds of the beats that begin a bar, empty where bars are not known.
    """

    features: NDArray[np.float32]
    beats: Array
    onset: NDArray[np.float32]
    downbeats: Array = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Sentence:
    """A caption, its span in seconds (None: to the end of the motion) and its terms (empty: those of the motion)."""

    text: str
    start: float = 0.0
    end: float | None = None
    licence: str = ""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a layout reads from its files, before retargeting.

    Attributes:
        key: unique name within the data set.
        group: name of the song or take; data sets are split by group.
        family: kind of motion (genre or subject).
        positions: (T, 22, 3) metres, bones of any length.
        fps: of `positions`.
        licence: tag of the source's terms.
        sentences: captions.
        song: music, or None.
        remarks: what was left out of the recording, and why.
        residual: of the rigid fit, if `positions` are already canonical, level and at 30 fps.
        convention, certain: the axis that the layout has up, and whether that is a rule.
        upright: whether y is known to be up.
        notes: what was guessed, estimated or changed, where nothing was left out.
    """

    key: str
    group: str
    family: str
    positions: NDArray[np.floating]
    fps: float
    licence: str
    sentences: tuple[Sentence, ...] = ()
    song: Song | None = None
    remarks: tuple[str, ...] = ()
    residual: float | None = None
    convention: str = "y"
    certain: bool = True
    upright: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """A file or part of one that was not loaded."""

    name: str
    reason: str


def prepared(recording: Recording, up: str = AUTO) -> Recording:
    """Turn a recording upright and drop a calibration pose at its start; music and captions move with it.

    Args:
        recording: as it was read; one that is canonical already is returned as it is.
        up: the axis that points up, see `choreo.motion.upright.find_up`.

    Raises:
        InvalidInput: NaN, or `up` contradicts a layout that is canonical.
    """
    if recording.residual is not None:
        if up not in (AUTO, "y"):
            raise InvalidInput(recording.key, f"is canonical motion with y up, and not {up}")
        return recording
    check_positions(recording.positions, recording.key)
    ready = recorded(
        recording.positions,
        recording.fps,
        "y" if recording.upright else up,
        convention=recording.convention,
        rest=recording.convention if recording.certain else None,
    )
    return replace(
        recording,
        positions=ready.positions,
        convention="y",
        upright=True,
        notes=(*recording.notes, *ready.notes),
        song=_later(recording.song, ready.dropped),
        sentences=tuple(
            replace(s, start=max(s.start - ready.dropped, 0), end=None if s.end is None else s.end - ready.dropped)
            for s in recording.sentences
        ),
    )


def _later(song: Song | None, seconds: float) -> Song | None:
    """The song from some seconds on."""
    first = round(seconds * FPS)
    if song is None or not first:
        return song
    beats, downbeats = song.beats - seconds, song.downbeats - seconds
    return Song(song.features[first:], beats[beats >= 0], song.onset[first:], downbeats[downbeats >= 0])


def to_clip(recording: Recording) -> Clip:
    """Resample to 30 fps, retarget, level the floor, and align music and captions with the frames.

    The clip's residual is that of the retargeting. Captions are cut to the motion; those outside it are dropped.

    Raises:
        InvalidInput: NaN, not a human in metres, shorter than `MIN_SECONDS`, or music that ends too early.
    """
    check_positions(recording.positions, recording.key)
    positions, residual = np.asarray(recording.positions, np.float64), recording.residual
    if residual is None:
        positions = resample(positions, recording.fps, FPS, recording.key)
    positions = _within_song(positions, recording)
    if len(positions) < MIN_SECONDS * FPS:
        raise InvalidInput(recording.key, f"lasts {len(positions) / FPS:.2f} s; at least {MIN_SECONDS} s are needed")
    if residual is None:
        _check_legs(positions, recording.key)
        canonical = retarget(positions)
        positions, residual = levelled(canonical.positions), canonical.residual
    return _clip(recording, positions, residual)


def _clip(recording: Recording, positions: Array, residual: float) -> Clip:
    features, heading = motion_features(positions)
    frames = len(features)
    music, rhythm = None, np.zeros((frames, RHYTHM_CHANNELS), np.float32)
    if recording.song is not None:
        music = recording.song.features[:frames]
        song = recording.song
        rhythm = beat_phase_channels(song.beats, song.onset, frames, FPS, song.downbeats)
    return Clip(
        key=recording.key,
        group=recording.group,
        family=recording.family,
        features=features,
        heading=heading,
        music=music,
        rhythm=rhythm,
        residual=residual,
        licence=recording.licence,
        captions=tuple(c for s in recording.sentences if (c := _caption(s, frames)) is not None),
    )


def _check_legs(positions: Array, key: str) -> None:
    length, (shortest, longest) = leg_length(positions), LEG_METRES
    if not shortest <= length <= longest:
        raise InvalidInput(
            key, f"has legs of {length:.3g} m, hip to ankle; a human in metres has {shortest} to {longest} m"
        )


def _within_song(positions: Array, recording: Recording) -> Array:
    if recording.song is None:
        return positions
    features = recording.song.features
    if features.ndim != 2 or len(recording.song.onset) != len(features):
        raise InvalidInput(recording.key, f"has music features of shape {features.shape}, not (T, D)")
    if len(positions) - len(features) > MAX_MISSING_MUSIC_SECONDS * FPS:
        raise InvalidInput(
            recording.key, f"has music features of {len(features)} frames for {len(positions)} frames of motion"
        )
    return positions[: len(features)]


def _caption(sentence: Sentence, frames: int) -> Caption | None:
    end = frames if sentence.end is None else min(round(sentence.end * FPS), frames)
    start = max(round(sentence.start * FPS), 0)
    return Caption(sentence.text, start, end, sentence.licence) if start < end else None
