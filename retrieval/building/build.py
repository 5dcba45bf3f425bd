"""Building a library: recordings in, phrases out, and a report of what could not be used."""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import ChoreoError, InvalidInput
from choreo.text.encoders import TextEncoder
from retrieval.building.cutting import Cutting
from retrieval.building.extraction import Extracted, PhraseSource, Recording, Remark, extract
from retrieval.building.journal import Journal
from retrieval.building.writer import LibraryWriter
from retrieval.indices.index import AUTO
from retrieval.library.embedding import EmbeddingConfig, Weights
from retrieval.library.manifest import Manifest

__all__ = ["REPORT", "BuildReport", "PhraseSource", "Recording", "Remark", "build_library"]

REPORT: Final = "skipped.json"
"""File in a library that says what was left out and why; no part of its content."""
_MAX_REMARKS: Final = 10_000
_REMEMBERED_TEXTS: Final = 16_384
_MAX_DRIFT: Final = 0.5
"""Standard deviations that a mean may move before appending says so."""


@dataclass(frozen=True)
class BuildReport:
    """What a build made.

    Attributes:
        phrases, frames: in the library.
        version: content hash of the library.
        skipped: recordings and stretches that were left out.
        notes: what of the others could not be used.
        recordings: how many were read.
        added: phrases that are new in the library.
        resumed: recordings that an unfinished build had done already.
    """

    phrases: int
    frames: int
    version: str
    skipped: list[Remark] = field(default_factory=list)
    notes: list[Remark] = field(default_factory=list)
    recordings: int = 0
    added: int = 0
    resumed: int = 0


def build_library(
    items: Iterable[PhraseSource | Recording],
    out: Path,
    embedder_text: TextEncoder,
    cutting: Cutting = Cutting(),
    progress: Callable[[int, str], None] | None = None,
    weights: Weights = Weights(),
    *,
    append: bool = False,
    index: str = AUTO,
    skipped: Sequence[Remark] = (),
    extras: Mapping[str, bytes] | None = None,
) -> BuildReport:
    """Cut recordings into phrases and write them as a library, whole or not at all.

    A build that was killed goes on where it was when it is called again: every `Recording` that was done is in a
    journal beside `out`, and is taken from there unless it or an option has changed since.

    Args:
        items: recordings, read one at a time.
        out: folder to make; an older library there is replaced, or extended.
        embedder_text: sentence encoder of the captions; queries must come from the same.
        cutting: where recordings are cut.
        progress: called with (recordings done, source) after each; what it raises cancels the build.
        weights: of the embedding's blocks.
        append: keep the phrases of the library at `out` and its embedding's statistics; equal phrases are not added
            again.
        index: kind of index, see `retrieval.indices.index.build_index`.
        skipped: what was left out before it came here, for the report.
        extras: more files to lie in the library, by name.
    Raises:
        InvalidInput: no recording gave a phrase, another process builds `out`, or `out` is something else.
        InvalidArtifact: the library to extend is broken, or was built with another text encoder.
        MissingDependency: the text encoder is not on this machine.
        OSError: `out` cannot be written.
    """
    encoder = (embedder_text.name, embedder_text.dim)
    # An encoder that is missing ends the build here; below it would only skip the recordings that have words.
    embedder_text.encode(["a person dances"])
    with LibraryWriter(out, extend=encoder if append else None) as writer:
        journal = Journal(writer.journal, {"cutting": asdict(cutting), "encoder": encoder})
        builder = _Builder(writer, journal, _TextVectors(embedder_text), cutting, list(skipped))
        for done, item in enumerate(items, 1):
            name = builder.take(item)
            if progress is not None:
                progress(done, name)
        if writer.base and not writer.added and builder.equal:
            return builder.report(writer.base)  # all of it is there already
        if not writer.added:
            raise InvalidInput("source", f"holds no usable phrase; {_first_reasons(builder.skipped)}")
        if writer.base:
            config = writer.base.embedding
            if drift := _drift(config, config.fitted(writer.sample)):
                builder.notes.append(Remark(str(out), drift))
        else:
            config = EmbeddingConfig(*encoder, weights).fitted(writer.sample, writer.sample_texts)
        report = {name: [asdict(r) for r in getattr(builder, name)[:_MAX_REMARKS]] for name in ("skipped", "notes")}
        document = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        manifest = writer.commit(
            config,
            index,
            {REPORT: document.encode(), **(extras or {})},
            lambda step: None if progress is None else progress(builder.recordings, step),
        )
        return builder.report(manifest)


@dataclass
class _Builder:
    """Takes recordings one at a time."""

    writer: LibraryWriter
    journal: Journal
    texts: "_TextVectors"
    cutting: Cutting
    skipped: list[Remark]
    notes: list[Remark] = field(default_factory=list)
    recordings: int = 0
    resumed: int = 0
    equal: int = 0

    def take(self, item: PhraseSource | Recording) -> str:
        """Add the phrases of a recording; returns its name."""
        name = item.name if isinstance(item, Recording) else item.source
        self.recordings += 1
        try:
            extracted, texts = self._extracted(item)
        except (ChoreoError, OSError) as error:
            self.skipped.append(Remark(name, str(error)))
            return name
        self.skipped += extracted.skipped
        self.notes += extracted.notes
        for phrase, rows, text in zip(extracted.phrases, extracted.rows, texts, strict=True):
            if not self.writer.add(phrase, rows, text):
                self.equal += 1
                reason = "an equal phrase is in the library already"
                self.skipped.append(Remark(f"{name}@{phrase.start:.2f}s", reason))
        return name

    def report(self, manifest: Manifest) -> BuildReport:
        """What was made of all that was taken."""
        return BuildReport(
            manifest.phrases,
            manifest.frames,
            manifest.content,
            self.skipped,
            self.notes,
            self.recordings,
            self.writer.added,
            self.resumed,
        )

    def _extracted(self, item: PhraseSource | Recording) -> tuple[Extracted, NDArray[np.float32]]:
        """Phrases and text vectors (N, E), from the journal where it has them."""
        if isinstance(item, PhraseSource):
            extracted = extract(item, self.cutting)
            return extracted, self.texts.encode([phrase.words for phrase in extracted.phrases])
        if (entry := self.journal.get(item.identity)) is not None:
            self.resumed += 1
            return entry
        extracted = extract(item.load(), self.cutting)
        texts = self.texts.encode([phrase.words for phrase in extracted.phrases])
        self.journal.put(item.identity, extracted, texts)
        return extracted, texts


class _TextVectors:
    """Text vectors of phrases; of the last different texts, each is encoded once."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors float32 (N, E); an empty text says nothing."""
        new = sorted({text for text in texts if text and text not in self._known})
        if new:
            self._known.update(zip(new, self._encoder.encode(new), strict=True))
        nothing = np.zeros(self._encoder.dim, np.float32)
        vectors = [self._known.get(text, nothing) for text in texts]
        while len(self._known) > _REMEMBERED_TEXTS:
            self._known.popitem(last=False)
        return np.array(vectors, np.float32).reshape(len(texts), self._encoder.dim)


def _drift(kept: EmbeddingConfig, fitted: EmbeddingConfig) -> str:
    """What to say if statistics that an extended library keeps are no longer those of its phrases."""
    spread = np.array(kept.stats_std)
    moved = np.abs(np.array(fitted.stats_mean) - kept.stats_mean) / spread
    worst = int(np.argmax(moved))
    if moved[worst] <= _MAX_DRIFT:
        return ""
    return (
        f"the phrases have drifted from the statistics they are embedded with ({kept.stats[worst]} by "
        f"{moved[worst]:.1f} standard deviations); build the library anew from all its sources"
    )


def _first_reasons(skipped: Sequence[Remark], shown: int = 3) -> str:
    if not skipped:
        return "there was no recording"
    reasons = "; ".join(f"{s.source or 'unnamed'}: {s.reason}" for s in skipped[:shown])
    return f"{len(skipped)} skipped: {reasons}" + ("; ..." if len(skipped) > shown else "")
