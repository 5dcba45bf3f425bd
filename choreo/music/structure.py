"""The sections of a song: where verse, chorus and bridge begin, and which of them come again.

Bars are compared by what is heard in each eighth of them. A boundary is where the bars before resemble each other, the
bars after do as well, and the two groups do not: the checkerboard novelty of Foote (2000, "Automatic audio
segmentation using a measure of audio novelty"). Songs are built of groups of eight bars, less often of four, so
boundaries are chosen together, with a cost for sections of other lengths (Sargent, Bimbot and Vincent 2011, "A
regularity-constrained Viterbi algorithm"). Sections that resemble each other bar by bar, from their first bars on, have
the same label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from choreo.music.audio import FRAME_RATE
from choreo.music.encoded import MusicFeatures
from choreo.music.features import CHROMA, DSP_DIM, MFCC

SLICES: Final = 8
"""Parts of a bar that are compared one by one."""
KERNEL: Final = 4
"""Bars before and after a boundary that tell its novelty."""
BANDWIDTH: Final = 0.35
"""Squared distance of two bars, per feature and relative to the song's variance, at which they are 1/e alike."""
SAME: Final = 0.55
"""Mean likeness of bars from which two sections are the same."""
BOUNDARY_COST: Final = 0.12
"""Novelty, 0 to 1, that a boundary must have to be worth it."""
LENGTH_COSTS: Final = ((8, 0.0), (4, 0.06), (2, 0.16), (1, 0.24))
"""Costs of sections whose bars are a multiple of so many."""
MIN_BARS: Final = 4
"""Bars of a section; the first and the last one may be shorter, because songs have upbeats and tails."""
MAX_SECTION_BARS: Final = 64
"""A longer stretch that is alike throughout is divided."""
LEAST_ONSET: Final = 0.05
"""Standard deviation of the onset strength, 0 to 1, of music that hardly has any."""
EARLY: Final = 0.1
"""Part of the first bar that may be missing."""
BEATS_OF_A_BAR: Final = 4
"""Where bars are not known."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Section:
    """A part of a song.

    Attributes:
        label: `A` for the first one and all that are like it, `B` for the next other one, and so on.
        bars: float64 (n + 1,), seconds at which its n bars begin, and the end of the last one.
    """

    label: str
    bars: Array

    @property
    def start(self) -> float:
        """Seconds from the start of the song."""
        return float(self.bars[0])

    @property
    def end(self) -> float:
        """Seconds from the start of the song."""
        return float(self.bars[-1])

    def document(self) -> dict[str, Any]:
        """JSON-serialisable form, with times to the millisecond."""
        return {
            "label": self.label,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "bars": len(self.bars) - 1,
        }


def find_sections(song: MusicFeatures) -> tuple[Section, ...]:
    """Sections of a song in order, each from a downbeat to another; none where it has no two bars.

    Where bars are not known, a bar is four beats, counted from the first one. What is before the first bar belongs to
    no section.
    """
    edges = bar_edges(song)
    if len(edges) < 3:
        return ()
    bars = bar_vectors(song, edges)
    cuts = _boundaries(_peaks(_novelty(bars)))
    spans = list(zip([0, *cuts], [*cuts, len(bars)], strict=True))
    return _merged(
        [Section(label, edges[a : b + 1]) for label, (a, b) in zip(_labels(bars, spans), spans, strict=True)]
    )


def bar_edges(song: MusicFeatures) -> Array:
    """Seconds (B + 1,) at which the bars of a song begin, and the end of the last one; empty without two of them."""
    starts = song.downbeats if len(song.downbeats) > 1 else song.beats[::BEATS_OF_A_BAR]
    seconds = song.num_frames / FRAME_RATE
    starts = np.asarray(starts, np.float64)
    starts = starts[starts < seconds]
    if len(starts) < 2:
        return np.zeros(0)
    period = float(np.median(np.diff(starts)))
    end = min(starts[-1] + period, seconds)
    # A bar that the song does not play to its middle is a last chord.
    whole = end - starts[-1] > 0.5 * period
    # Trackers need some beats to be sure; the bars before go on at the same tempo.
    early = starts[0] - period * np.arange(1, int((starts[0] + EARLY * period) / period) + 1)[::-1]
    return np.concatenate([np.maximum(early, 0), starts, [end] if whole else []])


def bar_vectors(song: MusicFeatures, edges: Array) -> Array:
    """What is heard in each bar, (B, D): mean squares of differences are distances relative to the song's variance."""
    parts = (edges[:-1, None] + np.diff(edges)[:, None] * np.arange(SLICES) / SLICES).ravel()
    frames = np.asarray(np.append(parts, edges[-1]) * FRAME_RATE, np.float64)
    features = np.asarray(song.features, np.float64)
    known = features.shape[1] == DSP_DIM
    blocks = [features[:, MFCC], features[:, CHROMA]] if known else [features]
    onset = np.asarray(song.onset, np.float64)[:, None]
    scaled = [*(_scaled(block) for block in blocks), _scaled(onset, LEAST_ONSET)]
    made = [_sliced(block, frames).reshape(len(edges) - 1, -1) for block in scaled]
    return np.concatenate([block / np.sqrt(block.shape[1] * len(made)) for block in made], axis=1)


def _scaled(block: Array, least: float = 1e-6) -> Array:
    """Features (T, D) in units of their standard deviations over the song, or of `least` where those are smaller."""
    return (block - block.mean(axis=0)) / np.maximum(block.std(axis=0), least)


def _sliced(block: Array, edges: Array) -> Array:
    """Means (n, D) of features (T, D) between edges (n + 1,), in frames."""
    sums = np.concatenate([np.zeros((1, block.shape[1])), np.cumsum(block, axis=0)])
    at = np.clip(edges, 0, len(block))
    low = np.minimum(at.astype(np.int64), len(block) - 1)
    total = sums[low] + (at - low)[:, None] * block[low]
    return np.diff(total, axis=0) / np.maximum(np.diff(at), 1e-3)[:, None]


def _novelty(bars: Array) -> Array:
    """Novelty (B,) of a boundary before each bar, 0 to 1.

    With the similarity -d^2 / 2 the sum under a checkerboard kernel is the squared distance of the two groups' means.
    Groups are as long as chord progressions, so that the chords within a section are none.
    """
    sums = np.concatenate([np.zeros((1, bars.shape[1])), np.cumsum(bars, axis=0)])
    at = np.arange(1, len(bars))
    first, last = np.maximum(at - KERNEL, 0), np.minimum(at + KERNEL, len(bars))
    before = (sums[at] - sums[first]) / (at - first)[:, None]
    after = (sums[last] - sums[at]) / (last - at)[:, None]
    # Where one group is shorter, its chords may be none of the other's.
    sure = (np.minimum(at - first, last - at) / KERNEL) ** 2
    return np.append(0.0, sure * (1 - _alike(before, after)))


def _peaks(novelty: Array) -> Array:
    """The novelty (B,) where no other within a kernel's reach is larger, elsewhere 0: a change shows bars around it."""
    return np.where(novelty == maximum_filter1d(novelty, 2 * KERNEL - 1, mode="constant"), novelty, 0.0)


def _alike(a: Array, b: Array) -> Array:
    """Likeness, 0 to 1, of bars (..., D)."""
    return np.exp(-((a - b) ** 2).sum(axis=-1) / BANDWIDTH)


def _boundaries(novelty: Array) -> list[int]:
    """Bars, ascending, that sections after the first one begin with."""
    count = len(novelty)
    best, before = np.full(count + 1, -np.inf), np.zeros(count + 1, np.int64)
    best[0] = 0.0
    for end in range(1, count + 1):
        for start in range(max(end - MAX_SECTION_BARS, 0), end):
            outer = start == 0 or end == count
            if end - start < MIN_BARS and not outer:
                continue
            gain = novelty[start] - BOUNDARY_COST if start else 0.0
            value = best[start] + gain - _length_cost(end - start) * (0.5 if outer else 1.0)
            if value > best[end]:
                best[end], before[end] = value, start
    cuts, at = [], int(before[count])
    while at > 0:
        cuts.append(at)
        at = int(before[at])
    return cuts[::-1]


def _length_cost(bars: int) -> float:
    return next(cost for unit, cost in LENGTH_COSTS if bars % unit == 0)


def _labels(bars: Array, spans: Sequence[tuple[int, int]]) -> list[str]:
    """A letter for each span of bars; equal ones for spans that are like the first of their letter, bar by bar."""
    first: list[tuple[int, int]] = []
    out = []
    for a, b in spans:
        likeness = [_alike_spans(bars, (a, b), span) for span in first]
        found = int(np.argmax(likeness)) if likeness and max(likeness) >= SAME else len(first)
        if found == len(first):
            first.append((a, b))
        out.append(_letter(found))
    return out


def _alike_spans(bars: Array, one: tuple[int, int], other: tuple[int, int]) -> float:
    count = min(one[1] - one[0], other[1] - other[0])
    return float(_alike(bars[one[0] : one[0] + count], bars[other[0] : other[0] + count]).mean())


def _letter(number: int) -> str:
    """A to Z, then AA, AB and so on."""
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def _merged(sections: Sequence[Section]) -> tuple[Section, ...]:
    """Neighbours of one label as one section."""
    out: list[Section] = []
    for section in sections:
        if out and out[-1].label == section.label:
            out[-1] = Section(section.label, np.concatenate([out[-1].bars, section.bars[1:]]))
        else:
            out.append(section)
    return tuple(out)
