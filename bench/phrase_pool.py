"""Phrases of the data pack and questions with known answers, for measuring and fitting retrieval.

A phrase is indexed with one description of its recording (from the CMU index, or a sentence generated from its genre);
questions are the descriptions by other annotators.
"""

import csv
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.layouts.packs import DataPack, family_of, group_of, is_validation
from choreo.motion.skeleton import FPS
from choreo.text.encoders import TextEncoder
from retrieval.building.cutting import Cutting, cut
from retrieval.library.embedding import EmbeddingConfig, Music, PhraseColumns, Query, QueryEmbedder, Weights
from retrieval.library.filters import PhraseFilter
from retrieval.library.library import Hit
from retrieval.library.phrases import Phrase, beat_strength, describe, words
from retrieval.library.song_summary import song_summary

GENRES: Final = {"W": "waltz", "R": "rumba", "C": "cha-cha", "T": "tango"}
CUTTING: Final = Cutting(phrase_frames=(32, 240))
"""Short phrases are allowed because takes of running last barely a second."""
_INDEXED: Final = ("cmu", "template")


@dataclass(frozen=True)
class Item:
    """A phrase, its dance or take, and its activity (from the first words of its description)."""

    phrase: Phrase
    group: str
    activity: str


@dataclass(frozen=True)
class Question:
    """A query, and the groups (takes or dances) and activities of the phrases that answer it."""

    text: str
    music: Music | None
    groups: frozenset[str]
    activities: frozenset[str]

    @property
    def held_out(self) -> bool:
        """Whether every relevant take is held out."""
        return all(map(is_validation, self.groups))


@dataclass(frozen=True)
class PhrasePool:
    """All phrases and questions.

    Attributes:
        items: phrases with a description of their recording.
        bare: the same phrases without one; their words describe how the body moves.
        captions: questions by annotators other than the one whose description is in `items`.
        descriptions: questions by all annotators, for `bare`.
        songs: questions with the music of a dance.
    """

    items: list[Item]
    bare: list[Item]
    captions: list[Question]
    descriptions: list[Question]
    songs: list[Question]


def read_pool(root: Path, progress: Callable[[str], None]) -> PhrasePool:
    """Cut and describe the pack under `root`, and collect its questions.

    Raises:
        InvalidInput: the folder is not a data pack.
    """
    pack, sentences = DataPack(root), _sentences(root / "captions.csv")
    items: list[Item] = []
    bare: list[Item] = []
    captioned: list[Question] = []
    described: list[Question] = []
    songs: list[Question] = []
    for key in pack.keys:
        progress(key)
        recording, group, family = pack.recording(key), group_of(key), family_of(key)
        told = sentences.get(key, [])
        indexed = next((text for source, text in told if source in _INDEXED), "")
        activity = GENRES.get(family) or _activity(indexed)
        summary = None if recording.music is None else song_summary(recording.music, recording.beats)
        found = []
        for piece in cut(recording.positions, recording.beats, CUTTING, 3 if family == "W" else 4):
            start = piece.first / FPS
            onset = None if recording.music is None else recording.music[piece.first : piece.last, 0]
            phrase, _ = describe(
                recording.positions[piece.first : piece.last],
                beats=recording.beats - start,
                caption=indexed,
                genre=GENRES.get(family, ""),
                source=key,
                start=start,
                beat_strength=None if onset is None else beat_strength(onset, recording.beats - start),
                music=summary,
            )
            found.append(Item(phrase, group, activity))
            plain = words(recording.positions[piece.first : piece.last], "", "")
            bare.append(Item(replace(phrase, caption="", genre="", words=plain), group, activity))
        items += found
        for text in dict.fromkeys(text for _, text in told):
            question = Question(text, None, frozenset([group]), frozenset([activity]))
            described.append(question)
            if text.lower() != indexed.lower():
                captioned.append(question)
        if summary is not None and (song := _song([item.phrase for item in found], summary)):
            songs.append(Question("", song, frozenset([group]), frozenset([activity])))
    return PhrasePool(items, bare, _merged(captioned), _merged(described), songs)


def _song(phrases: Sequence[Phrase], summary: Sequence[float]) -> Music | None:
    tempos = [phrase.tempo for phrase in phrases if phrase.tempo > 0]
    strengths = [phrase.beat_strength for phrase in phrases if phrase.beat_strength is not None]
    if not tempos:
        return None
    return Music(float(np.median(tempos)), float(np.mean(strengths)) if strengths else None, summary)


def _merged(questions: Sequence[Question]) -> list[Question]:
    """One question per text; every recording that was described with it is an answer."""
    out: dict[str, Question] = {}
    for question in questions:
        key = question.text.lower()
        other = out.get(key, question)
        groups, activities = other.groups | question.groups, other.activities | question.activities
        out[key] = replace(other, groups=groups, activities=activities)
    return list(out.values())


class MemoryLibrary:
    """The part of a library that a `PhraseFinder` needs, in memory and searched exactly.

    Args:
        items: the phrases.
        texts: (N, E) embeddings of their words.
        encoder: text encoder that made them.
        weights: weights of the blocks of the query space.
        centred: whether the mean text vector is subtracted.
    """

    def __init__(
        self,
        items: Sequence[Item],
        texts: NDArray[np.float32],
        encoder: TextEncoder,
        weights: Weights = Weights(),
        centred: bool = True,
    ) -> None:
        self.texts = texts
        # `first_row`, which in a library is the first frame of the motion, is the phrase's index here.
        self.items = [replace(item, phrase=replace(item.phrase, first_row=i)) for i, item in enumerate(items)]
        self._groups = np.array([item.group for item in items])
        columns = PhraseColumns.of([item.phrase for item in items])
        self.embedder = QueryEmbedder(
            EmbeddingConfig(encoder.name, encoder.dim, weights).fitted(columns, texts if centred else None)
        )
        self._vectors = self.embedder.phrases(columns, texts)

    def search_many(
        self,
        queries: Sequence[Query],
        k: int,
        lengths: Sequence[int] | None = None,
        filters: Sequence[PhraseFilter] | None = None,
        hidden: Collection[str] = (),
    ) -> list[list[Hit]]:
        """The k best phrases per query by exact scores, without `hidden` groups; lengths and filters are ignored."""
        shown = np.flatnonzero(~np.isin(self._groups, list(hidden)))
        out = []
        for similarity in self.embedder.queries(queries) @ self._vectors[shown].T:
            order = np.argsort(-similarity, kind="stable")[:k]
            hits = [
                Hit(self.items[shown[i]].phrase, float(similarity[i]), rank, float(similarity[i]))
                for rank, i in enumerate(order)
            ]
            out.append(hits if similarity.any() else [])
        return out


def encoded(items: Sequence[Item], encoder: TextEncoder) -> NDArray[np.float32]:
    """Embeddings (N, E) of the phrases' words; each distinct text is encoded once."""
    distinct = sorted({item.phrase.words for item in items})
    vectors = dict(zip(distinct, encoder.encode(distinct), strict=True))
    return np.stack([vectors[item.phrase.words] for item in items])


def _sentences(path: Path) -> dict[str, list[tuple[str, str]]]:
    out: dict[str, list[tuple[str, str]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            out.setdefault(row["clip"], []).append((row["source"], row["caption"]))
    return out


def _activity(description: str) -> str:
    """The activity of a description: `navigate - walk forward` is walk, `martial arts - Empi` is martial arts."""
    if re.search(r"\bwalk", description.lower()):
        return "walk"
    return re.split(r" - |[/,]", description.lower())[0].strip()
