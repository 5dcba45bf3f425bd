"""Building a library from recordings, with a report of what could not be used."""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
from retrieval.library.embedding import EmbeddingConfig
from retrieval.library.manifest import Manifest

__all__ = ["REPORT", "BuildReport", "PhraseSource", "Recording", "Remark", "build_library"]

REPORT: Final = "skipped.json"
"""File in a library that lists what was left out and why; its hash does not count for the library's version."""
_MAX_REMARKS: Final = 10_000
_MAX_KNOWN_TEXTS: Final = 16_384
_MAX_DRIFT: Final = 0.5
"""Drift of a mean, in standard deviations, above which appending adds a note."""


@dataclass
class BuildReport:
    """Result of a build.

    Attributes:
        phrases, frames: number in the library.
        version: content hash of the library.
        skipped: recordings and stretches that were left out.
        notes: what of the others could not be used.
        recordings: number of recordings.
        added: number of phrases that are new in the library.
        resumed: number of recordings that an unfinished build had finished.
    """

    phrases: int = 0
    frames: int = 0
    version: str = ""
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
    *,
    append: bool = False,
    index: str = AUTO,
    skipped: Sequence[Remark] = (),
    extras: Mapping[str, bytes] | None = None,
) -> BuildReport:
    """Cut recordings into phrases and write them as a library, whole or not at all.

    A build that was interrupted resumes when it is called again: finished `Recording`s are in a journal next to `out`
    and are taken from there unless they or an option have changed.

    Args:
        items: recordings, read one at a time.
        out: folder to create; an older library there is replaced, or extended.
        embedder_text: sentence encoder of the captions; queries must come from the same.
        cutting: where recordings are cut.
        progress: called with (recordings done, source) after each; an exception it raises cancels the build.
        append: keep the phrases of the library at `out` and its embedding's statistics; equal phrases are not added
            again.
        index: kind of index, one of `retrieval.indices.index.KINDS`.
        skipped: remarks on what was left out earlier, for the report.
        extras: contents of further files in the library, by name.
    Raises:
        InvalidInput: no recording gives a phrase, another process builds `out`, or `out` is not a library.
        InvalidArtifact: the library to extend is broken, or was built with another text encoder.
        MissingDependency: the text encoder is not on this machine.
        OSError: `out` cannot be written.
    """
    encoder = (embedder_text.name, embedder_text.dim)
    # An encoder that is missing ends the build here; below it would only skip the recordings that have words.
    embedder_text.encode(["a person dances"])
    with LibraryWriter(out, extend=encoder if append else None) as writer:
        journal = Journal(writer.journal, {"cutting": asdict(cutting), "encoder": encoder})
        builder = _Builder(writer, journal, _TextVectors(embedder_text), cutting, BuildReport(skipped=list(skipped)))
        report, announce = builder.report, progress or (lambda done, step: None)
        for item in items:
            name = builder.take(item)
            announce(report.recordings, name)
        if writer.base and not writer.added and builder.equal:
            return _finished(report, writer.base)  # the library has all of them
        if not writer.added:
            raise InvalidInput("source", f"holds no usable phrase; {_first_reasons(report.skipped)}")
        if writer.base:
            config = writer.base.embedding
            if drift := _drift(config, config.fitted(writer.sample[0])):
                report.notes.append(Remark(str(out), drift))
        else:
            config = EmbeddingConfig(*encoder).fitted(*writer.sample)
        remarks = {name: [asdict(r) for r in getattr(report, name)[:_MAX_REMARKS]] for name in ("skipped", "notes")}
        document = json.dumps(remarks, indent=1, ensure_ascii=False) + "\n"
        files = {REPORT: document.encode(), **(extras or {})}
        manifest = writer.commit(config, index, files, lambda step: announce(report.recordings, step))
        report.added = writer.added
        return _finished(report, manifest)


def _finished(report: BuildReport, manifest: Manifest) -> BuildReport:
    return replace(report, phrases=manifest.phrases, frames=manifest.frames, version=manifest.content)


@dataclass
class _Builder:
    """Adds recordings to a library one at a time, and collects the report."""

    writer: LibraryWriter
    journal: Journal
    texts: "_TextVectors"
    cutting: Cutting
    report: BuildReport
    equal: int = 0

    def take(self, item: PhraseSource | Recording) -> str:
        """Add the phrases of a recording; returns its name."""
        name, report = item.name if isinstance(item, Recording) else item.source, self.report
        report.recordings += 1
        try:
            extracted, texts = self._extracted(item)
        except (ChoreoError, OSError) as error:
            report.skipped.append(Remark(name, str(error)))
            return name
        report.skipped += extracted.skipped
        report.notes += extracted.notes
        for phrase, rows, text in zip(extracted.phrases, extracted.rows, texts, strict=True):
            if not self.writer.add(phrase, rows, text):
                self.equal += 1
                reason = "an equal phrase is in the library already"
                report.skipped.append(Remark(f"{name}@{phrase.start:.2f}s", reason))
        return name

    def _extracted(self, item: PhraseSource | Recording) -> tuple[Extracted, NDArray[np.float32]]:
        """Phrases and text vectors (N, E), from the journal if it has them."""
        if isinstance(item, Recording) and (entry := self.journal.get(item.identity)) is not None:
            self.report.resumed += 1
            return entry
        extracted = extract(item.load() if isinstance(item, Recording) else item, self.cutting)
        texts = self.texts.encode([phrase.words for phrase in extracted.phrases])
        if isinstance(item, Recording):
            self.journal.put(item.identity, extracted, texts)
        return extracted, texts


class _TextVectors:
    """Text vectors of phrases, with a cache of the most recent texts."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors float32 (N, E); zeros for an empty text."""
        new = sorted({text for text in texts if text and text not in self._known})
        if new:
            self._known.update(zip(new, self._encoder.encode(new), strict=True))
        zeros = np.zeros(self._encoder.dim, np.float32)
        vectors = [self._known.get(text, zeros) for text in texts]
        while len(self._known) > _MAX_KNOWN_TEXTS:
            self._known.popitem(last=False)
        return np.array(vectors, np.float32).reshape(len(texts), self._encoder.dim)


def _drift(kept: EmbeddingConfig, fitted: EmbeddingConfig) -> str:
    """A note if the phrases of an extended library have drifted from the statistics it keeps, else nothing."""
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
