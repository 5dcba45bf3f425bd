"""Extraction of a recording's phrases, with the reasons for what is left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.data.clip import Caption
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion, check_positions
from choreo.motion.resample import resample
from choreo.motion.retarget import is_canonical, retarget
from choreo.motion.skeleton import FPS
from choreo.music.features import DSP_DIM, ONSET
from choreo.postprocess.floor import levelled
from retrieval.building.cutting import Cut, Cutting, cut
from retrieval.library.phrases import Phrase, beat_strength, describe
from retrieval.library.song_summary import song_summary

Array = NDArray[np.float64]

MIN_SPEED: Final = 0.04
"""Mean joint speed below which a phrase is no dance, m/s."""
MAX_SPEED: Final = 20.0
"""Joint speed above which tracking has failed, m/s."""
MAX_RESIDUAL: Final = 0.15
"""Mean distance of joints from the canonical skeleton's above which they were mapped wrongly, metres."""
COVERED: Final = 0.5
"""A caption describes a phrase if its stretch covers this share of it."""


@dataclass(frozen=True)
class PhraseSource:
    """A recording to cut into phrases.

    Attributes:
        motion: at any rate, of an actor of any size, y up.
        caption: a sentence about all of it, or empty.
        genre: kind of dance, or empty.
        beats: seconds from the first frame; empty without music.
        source: name of the recording, for provenance.
        licence: tag of its terms.
        music: dsp35 features (N, 35) at 30 fps from the motion's first frame on, not normalised, of the length of the
            song; None without music.
        style: manner of dancing, or empty.
        meter: beats per bar.
        captions: sentences about stretches of it, in frames at 30 fps; a phrase takes one of those that cover it, and
            `caption` if none does.
        notes: what of it could not be used, for the report.
    """

    motion: Motion
    caption: str = ""
    genre: str = ""
    beats: ArrayLike = ()
    source: str = ""
    licence: str = ""
    music: NDArray[np.floating] | None = None
    style: str = ""
    meter: int = 4
    captions: Sequence[Caption] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Recording:
    """A recording that is loaded when needed, so that they need not all be in memory.

    Attributes:
        name: for provenance and reports.
        identity: changes with everything that `load` reads; a resumed build reuses the phrases of the same identity.
        load: reads it; an error it raises (`ChoreoError`, `OSError`) skips this recording only.
    """

    name: str
    identity: str
    load: Callable[[], PhraseSource]


@dataclass(frozen=True)
class Remark:
    """Why a recording, or a stretch of one, was left out, or which part of it was."""

    source: str
    reason: str


@dataclass
class Extracted:
    """Phrases of one recording, their motion in millimetres, and remarks on what was left out."""

    phrases: list[Phrase] = field(default_factory=list)
    rows: list[NDArray[np.int16]] = field(default_factory=list)
    skipped: list[Remark] = field(default_factory=list)
    notes: list[Remark] = field(default_factory=list)


def extract(item: PhraseSource, cutting: Cutting) -> Extracted:
    """Cut one recording and describe its phrases.

    Raises:
        InvalidInput: it gives no phrase.
    """
    positions = _canonical(item, cutting.limits[0])
    beats = np.asarray(item.beats, np.float64).reshape(-1)
    music = _checked_music(item.music)
    summary = None if music is None else song_summary(music, beats)
    cuts = cut(positions, beats, cutting, item.meter, music)
    if not cuts:
        raise InvalidInput("motion", "gives no phrase of {} to {} frames".format(*cutting.limits))
    out = Extracted(notes=[Remark(item.source, note) for note in item.notes])
    for number, piece in enumerate(cuts):
        part, start = positions[piece.first : piece.last], piece.first / FPS
        if fault := _fault(part):
            out.skipped.append(Remark(f"{item.source}@{start:.2f}s", fault))
            continue
        onset = None if music is None else music[piece.first : piece.last, ONSET]
        phrase, rows = describe(
            part,
            beats=beats - start,
            caption=_caption(item, piece, number),
            genre=item.genre,
            style=item.style,
            source=item.source,
            start=start,
            licence=item.licence,
            beat_strength=None if onset is None else beat_strength(onset, beats - start),
            music=summary,
        )
        out.phrases.append(phrase)
        out.rows.append(rows)
    return out


def _canonical(item: PhraseSource, min_frames: int) -> Array:
    """Positions at 30 fps on the canonical skeleton and on a level floor."""
    # `Motion` checks them, too, but its array may have been written to since.
    check_positions(item.motion.positions, "motion")
    positions = resample(item.motion.positions, item.motion.fps, FPS)
    if len(positions) < min_frames:
        raise InvalidInput("motion", f"has {len(positions)} frames at {FPS} fps, a phrase needs {min_frames}")
    if not is_canonical(positions):
        fitted = retarget(positions)
        if not fitted.residual <= MAX_RESIDUAL:
            raise InvalidInput(
                "motion", f"does not fit the skeleton: joints are {100 * fitted.residual:.0f} cm off on average"
            )
        positions = fitted.positions
    return levelled(positions)


def _checked_music(music: NDArray[np.floating] | None) -> NDArray[np.floating] | None:
    if music is None or not len(music):
        return None
    if music.ndim != 2 or music.shape[1] != DSP_DIM or not np.isfinite(music).all():
        raise InvalidInput("music", f"must be finite numbers of shape (T, {DSP_DIM}), got {music.shape}")
    return music


def _caption(item: PhraseSource, piece: Cut, number: int) -> str:
    """The caption of the shortest stretch that covers a phrase; captions of equal stretches take turns."""
    needed = COVERED * (piece.last - piece.first)
    covering = [c for c in item.captions if min(c.end, piece.last) - max(c.start, piece.first) >= needed]
    if not covering:
        return item.caption
    shortest = min(c.end - c.start for c in covering)
    equals = [c for c in covering if c.end - c.start == shortest]
    return equals[number % len(equals)].text


def _fault(positions: Array) -> str:
    """Why a stretch cannot be used, or nothing."""
    speed = np.linalg.norm(np.diff(positions, axis=0), axis=-1) * FPS
    if speed.mean() < MIN_SPEED:
        return "hardly moves"
    if speed.max() > MAX_SPEED:
        return f"a joint jumps at {speed.max():.0f} m/s"
    return ""
