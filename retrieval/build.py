"""Building a library: recordings in, phrases out, and a report of what could not be used."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.errors import ChoreoError, InvalidInput
from choreo.motion.clip import Motion, check_positions
from choreo.motion.resample import resample
from choreo.motion.retarget import refit
from choreo.motion.skeleton import FPS
from choreo.text.encoders import TextEncoder
from retrieval.cutting import PHRASE_FRAMES, cut
from retrieval.embedding import EmbeddingConfig, Weights
from retrieval.phrases import beat_strength, describe
from retrieval.writer import LibraryWriter

Array = NDArray[np.float64]

MIN_SPEED: Final = 0.04
"""Mean joint speed below which nobody dances, m/s."""
MAX_SPEED: Final = 20.0
"""A joint that is faster was lost by the tracking, m/s."""


@dataclass(frozen=True)
class PhraseSource:
    """A recording to cut into phrases.

    Attributes:
        motion: the motion, or a function that loads it, so that recordings need not all be in memory; what the
            function raises (`ChoreoError`, `OSError`) skips this recording only.
        caption: a sentence about all of it, or empty.
        genre: or empty.
        beats: seconds from the first frame; empty where there is no music.
        source: name of the recording, for provenance.
        licence: tag of its terms.
        onset: onset strength of the music at 30 fps, if known.
        meter: beats per bar.
    """

    motion: Motion | Callable[[], Motion]
    caption: str = ""
    genre: str = ""
    beats: ArrayLike = ()
    source: str = ""
    licence: str = ""
    onset: NDArray[np.floating] | None = None
    meter: int = 4


@dataclass(frozen=True)
class Skipped:
    """A recording, or a stretch of one, that is not in the library, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class BuildReport:
    """What a build made.

    Attributes:
        phrases, frames: in the library.
        skipped: what was left out.
        version: content hash of the library.
    """

    phrases: int
    frames: int
    version: str
    skipped: list[Skipped] = field(default_factory=list)


def build_library(
    items: Iterable[PhraseSource],
    out: Path,
    embedder_text: TextEncoder,
    phrase_frames: tuple[int, int] = PHRASE_FRAMES,
    progress: Callable[[int, str], None] | None = None,
    weights: Weights = Weights(),
) -> BuildReport:
    """Cut recordings into phrases and write them as a library, whole or not at all.

    Args:
        items: recordings, read one at a time.
        out: folder to make; an older library there is replaced.
        embedder_text: sentence encoder of the captions; queries must come from the same.
        phrase_frames: shortest and longest phrase.
        progress: called with (recordings done, source) after each; what it raises cancels the build.
        weights: of the embedding's blocks.
    Raises:
        InvalidInput: no recording gave a phrase, the limits make no sense, or `out` is something else.
        OSError: `out` cannot be written.
    """
    if not 2 <= phrase_frames[0] <= phrase_frames[1]:
        raise InvalidInput("phrase_frames", f"must be two rising numbers from 2 on, got {phrase_frames}")
    skipped: list[Skipped] = []
    texts: list[str] = []
    with LibraryWriter(out) as writer:
        for done, item in enumerate(items, 1):
            try:
                texts += _add(item, writer, phrase_frames, skipped)
            except (ChoreoError, OSError) as error:
                skipped.append(Skipped(item.source, str(error)))
            if progress is not None:
                progress(done, item.source)
        if not writer.phrases:
            raise InvalidInput("source", f"holds no usable phrase; {_first_reasons(skipped)}")
        config = EmbeddingConfig(embedder_text.name, embedder_text.dim, weights).fitted(writer.phrases)
        manifest = writer.commit(config, _encoded(embedder_text, texts))
    return BuildReport(manifest.phrases, manifest.frames, manifest.content, skipped)


def _add(
    item: PhraseSource, writer: LibraryWriter, phrase_frames: tuple[int, int], skipped: list[Skipped]
) -> list[str]:
    """Cut one recording and add its phrases; returns their words."""
    positions = _loaded(item, phrase_frames[0])
    beats = np.asarray(item.beats, np.float64).reshape(-1)
    cuts = cut(positions, beats, phrase_frames, item.meter)
    if not cuts:
        raise InvalidInput("motion", f"gives no phrase of {phrase_frames[0]} to {phrase_frames[1]} frames")
    texts = []
    for piece in cuts:
        part, start = positions[piece.first : piece.last], piece.first / FPS
        name = f"{item.source}@{start:.2f}s"
        if fault := _fault(part):
            skipped.append(Skipped(name, fault))
            continue
        onset = None if item.onset is None else item.onset[piece.first : piece.last]
        phrase, rows = describe(
            part,
            beats=beats - start,
            caption=item.caption,
            genre=item.genre,
            source=item.source,
            start=start,
            licence=item.licence,
            beat_strength=None if onset is None else beat_strength(onset, beats - start),
        )
        if writer.add(phrase, rows):
            texts.append(phrase.words)
        else:
            skipped.append(Skipped(name, "an equal phrase is in the library already"))
    return texts


def _loaded(item: PhraseSource, shortest: int) -> Array:
    """Canonical positions at 30 fps."""
    motion = item.motion if isinstance(item.motion, Motion) else item.motion()
    # Again, although `Motion` does: the array may have been written to since.
    check_positions(motion.positions, "motion")
    positions = resample(motion.positions, motion.fps, FPS)
    if len(positions) < shortest:
        raise InvalidInput("motion", f"has {len(positions)} frames at {FPS} fps, a phrase needs {shortest}")
    return refit(positions)


def _fault(positions: Array) -> str:
    """Why a stretch is of no use, or nothing."""
    speed = np.linalg.norm(np.diff(positions, axis=0), axis=-1) * FPS
    if speed.mean() < MIN_SPEED:
        return "hardly moves"
    if speed.max() > MAX_SPEED:
        return f"a joint jumps at {speed.max():.0f} m/s"
    return ""


def _encoded(encoder: TextEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Text vectors (N, E); each different text is encoded once, and an empty one says nothing."""
    distinct = sorted({text for text in texts if text})
    vectors = dict(zip(distinct, encoder.encode(distinct), strict=True)) if distinct else {}
    nothing = np.zeros(encoder.dim, np.float32)
    return np.stack([vectors.get(text, nothing) for text in texts])


def _first_reasons(skipped: Sequence[Skipped], shown: int = 3) -> str:
    if not skipped:
        return "there was no recording"
    reasons = "; ".join(f"{s.source or 'unnamed'}: {s.reason}" for s in skipped[:shown])
    return f"{len(skipped)} skipped: {reasons}" + ("; ..." if len(skipped) > shown else "")
