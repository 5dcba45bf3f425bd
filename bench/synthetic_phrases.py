"""Synthetic phrases for a library of any size, distributed like those of a small real one.

A synthetic phrase is a real one (its parent), of which every part is moved by a step times the difference of that part
between two other real phrases; so the real correlations are kept. The steps of text, music and motion are calibrated
such that the median cosine of child and parent equals the median cosine of real phrases and their nearest distinct
neighbour: a new phrase is as far from the existing ones as these are from each other. Texts repeat as captions do: as
many phrases share a text as in the real library, and the parents of a text's phrases share a real text.

Questions are made the same way with newly drawn texts and parents: prompts, songs, and prompts with songs. In half of
the last kind, prompt and song belong to different phrases.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from choreo.text.encoders import TextEncoder
from retrieval.indices.recall import Parts
from retrieval.library.embedding import Music, PhraseColumns, Query, QueryEmbedder
from retrieval.library.library import PhraseLibrary
from retrieval.library.phrases import Phrase

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

PARTS: Final = ("text", "music", "motion")
QUESTIONS: Final = ("text", "music", "text+music")
_TEMPOS: Final = (40.0, 240.0)
_FARTHEST: Final = 2.0
_SEARCH_STEPS: Final = 16
_CALIBRATION: Final = 2000


@dataclass(frozen=True)
class Batch:
    """Synthetic phrases: parents (n,), indices of texts (n,), text vectors (n, E) and the other columns."""

    parents: Rows
    text_numbers: Rows
    texts: NDArray[np.float32]
    columns: PhraseColumns


class SyntheticPhrases:
    """Draws phrases and questions like those of a library.

    Args:
        embedder: embedder of the library.
        phrases: all phrases of the library.
        texts: (U, E) vectors of the distinct texts.
        text_of: (n,) index of each phrase's text.
    """

    def __init__(
        self, embedder: QueryEmbedder, phrases: list[Phrase], texts: NDArray[np.float32], text_of: Rows
    ) -> None:
        self.embedder, self.phrases = embedder, phrases
        self._texts, self._columns = texts.astype(np.float64), PhraseColumns.of(phrases)
        self.repeats = len(phrases) / len(texts)
        self._by_text = np.argsort(text_of, kind="stable")
        self._counts = np.bincount(text_of, minlength=len(texts))
        self._firsts = np.cumsum(self._counts) - self._counts
        self._text_of = text_of
        self._heard = _with_music(self._columns)
        self.steps = dict.fromkeys(PARTS, 0.0)
        for part in PARTS:
            self._calibrate(part)

    @classmethod
    def like(cls, library: PhraseLibrary, encoder: TextEncoder) -> Self:
        """Fit to a library; the encoder must be the one that the library was built with."""
        library.embedder.require(encoder.name, encoder.dim)
        phrases = [library[row] for row in range(len(library))]
        distinct, text_of = np.unique([phrase.words for phrase in phrases], return_inverse=True)
        return cls(library.embedder, phrases, encoder.encode(distinct.tolist()), text_of)

    def batches(self, count: int, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """`count` phrases with repeating texts, in batches of at most `size`."""
        different = max(1, round(count / self.repeats))
        origins = rng.integers(0, len(self._texts), different)
        texts = self._moved_texts(origins, rng)
        for first in range(0, count, size):
            numbers = rng.integers(0, different, min(size, count - first))
            parents = self._phrase_of(origins[numbers], rng)
            yield Batch(parents, numbers, texts[numbers], self._moved(parents, rng))

    def questions(self, count: int, rng: np.random.Generator) -> list[Query]:
        """Questions of the kinds in `QUESTIONS`, in turn."""
        (batch,) = self.batches(count, count, rng)
        songs = np.flatnonzero(self._columns.tempo > 0)
        if not len(songs):
            raise ValueError("no phrase has a tempo to ask for")
        parents = np.where(self._columns.tempo[batch.parents] > 0, batch.parents, rng.choice(songs, count))
        heard = self._moved(np.where(np.arange(count) % 2, parents, rng.permutation(parents)), rng)
        out = []
        for i, text in enumerate(self._moved_texts(self._text_of[batch.parents], rng)):
            kind = QUESTIONS[i % len(QUESTIONS)]
            out.append(Query(text if "text" in kind else None, _music(heard, i) if "music" in kind else None))
        return out

    def phrase(self, batch: Batch, i: int, row: int) -> Phrase:
        """Phrase i of a batch with the number `row` as its id, and the motion of its parent."""
        parent, columns = self.phrases[batch.parents[i]], batch.columns
        missing = np.isnan(columns.music[i]).any()
        return replace(
            parent,
            id=f"{row:016x}",
            words=f"{parent.words} ({batch.text_numbers[i]})",
            tempo=float(columns.tempo[i]),
            beat_strength=None if np.isnan(columns.beat_strength[i]) else float(columns.beat_strength[i]),
            energy=float(columns.energy[i]),
            stats=tuple(columns.stats[i].tolist()),
            music=None if missing else tuple(columns.music[i].tolist()),
        )

    def _phrase_of(self, texts: Rows, rng: np.random.Generator) -> Rows:
        """A random phrase (n,) for each of these texts."""
        within = (rng.random(len(texts)) * self._counts[texts]).astype(np.int64)
        return self._by_text[self._firsts[texts] + within]

    def _moved_texts(self, origins: Rows, rng: np.random.Generator) -> NDArray[np.float32]:
        one, other = rng.integers(0, len(self._texts), (2, len(origins)))
        out = self._texts[origins] + self.steps["text"] * (self._texts[one] - self._texts[other])
        unit: NDArray[np.float32] = (out / np.linalg.norm(out, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def _moved(self, parents: Rows, rng: np.random.Generator) -> PhraseColumns:
        own = self._columns
        music, motion = self.steps["music"], self.steps["motion"]
        pair = rng.integers(0, len(own), (2, len(parents)))
        songs = rng.choice(self._heard, (2, len(parents)))
        tempo = np.exp(_moved(np.log(np.where(own.tempo > 0, own.tempo, np.nan)), parents, songs, music))
        return PhraseColumns(
            tempo=np.nan_to_num(np.clip(tempo, *_TEMPOS)),
            beat_strength=np.clip(_moved(own.beat_strength, parents, songs, music), 0, 1),
            energy=np.exp(_moved(np.log(own.energy + 1e-3), parents, pair, motion)),
            stats=_moved(own.stats, parents, pair, motion),
            music=_moved(own.music, parents, songs, music),
        )

    def _calibrate(self, part: str) -> None:
        """Calibrate the step of one part by bisection; a larger step moves children farther away."""
        columns = Parts(self.embedder.config.parts).slices()[PARTS.index(part)]
        real = self.embedder.phrases(self._columns, self._texts[self._text_of])[:, columns]
        wanted = _nearest(real)
        if wanted is None:
            return
        parents = np.random.default_rng(0).choice(np.flatnonzero(real.any(1)), _CALIBRATION)

        def likeness(step: float) -> float:
            self.steps[part] = step
            rng = np.random.default_rng(1)
            texts = self._moved_texts(self._text_of[parents], rng)
            children = self.embedder.phrases(self._moved(parents, rng), texts)[:, columns]
            return float(np.median(_cosines(children, real[parents])))

        self.steps[part] = _bisected(likeness, wanted)


def _with_music(columns: PhraseColumns) -> Rows:
    """Phrases with complete music columns; failing that, with a tempo; failing that, all phrases."""
    known = (columns.tempo > 0) & ~np.isnan(columns.beat_strength) & ~np.isnan(columns.music).any(1)
    tempo = columns.tempo > 0
    return np.flatnonzero(known if known.any() else tempo if tempo.any() else np.ones(len(known), np.bool_))


def _moved(values: Array, parents: Rows, pair: Rows, step: float) -> Array:
    """Parents' values moved along the difference of two other phrases; not moved where that is undefined."""
    moved: Array = values[parents] + step * np.nan_to_num(values[pair[0]] - values[pair[1]])
    return moved


def _nearest(vectors: NDArray[np.float32]) -> float | None:
    """Median cosine of distinct vectors and their nearest neighbours; None if all vectors are equal."""
    different = np.unique(np.round(vectors[vectors.any(1)], 5), axis=0)
    if len(different) < 2:
        return None
    sample = different[np.random.default_rng(0).permutation(len(different))[:_CALIBRATION]]
    unit = sample / np.linalg.norm(sample, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -np.inf)
    return float(np.median(likeness.max(1)))


def _bisected(likeness: Callable[[float], float], wanted: float) -> float:
    low, high = 0.0, _FARTHEST
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if likeness(middle) > wanted else (low, middle)
    return (low + high) / 2


def _cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> Array:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines: Array = (one * other).sum(1) / np.maximum(lengths, 1e-9)
    return cosines


def _music(columns: PhraseColumns, i: int) -> Music:
    strength, summary = float(columns.beat_strength[i]), columns.music[i]
    return Music(
        tempo=float(columns.tempo[i]),
        beat_strength=None if np.isnan(strength) else strength,
        summary=None if np.isnan(summary).any() else summary.tolist(),
    )
