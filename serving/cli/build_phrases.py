"""`choreo phrases build`: a phrase library of what a user has, with progress on the terminal."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from choreo.errors import InvalidInput
from choreo.text.encoders import TextEncoder, text_encoder
from retrieval.building.build import REPORT, BuildReport, build_library
from retrieval.building.cleared import cleared
from retrieval.building.cutting import BOUNDARIES, Cutting
from retrieval.building.sources import Sources, open_sources
from retrieval.indices.index import KINDS
from retrieval.library.manifest import NAME, Manifest

AUTO: Final = "auto"
_SHOWN: Final = 5
"""Reasons that the terminal names; the report has all of them."""


@dataclass(frozen=True)
class BuildOptions:
    """What the command line says.

    Attributes:
        append: extend the library at the target.
        beats, boundaries: see `retrieval.building.cutting.Cutting`; `auto` or a number.
        licence, genre: of recordings that do not say.
        encoder: text encoder, by name; `auto`: that of the library that is extended, else `minilm`.
        index: kind of index.
        up: the axis that points up in motion files, see `choreo.motion.upright.find_up`.
        cleared: only recordings and captions that may train weights that are shipped.
    """

    append: bool = False
    beats: str = AUTO
    boundaries: str = AUTO
    licence: str = ""
    genre: str = ""
    encoder: str = AUTO
    index: str = AUTO
    up: str = AUTO
    cleared: bool = False

    def cutting(self) -> Cutting:
        """How recordings are cut.

        Raises:
            InvalidInput: no such number of beats or kind of boundary.
        """
        if self.beats not in (AUTO, "8", "16", "32"):
            raise InvalidInput("beats", f"must be 8, 16, 32 or auto, got {self.beats!r}")
        boundaries = next((known for known in BOUNDARIES if known == self.boundaries), None)
        if boundaries is None:
            raise InvalidInput("boundaries", f"must be one of {', '.join(BOUNDARIES)}, got {self.boundaries!r}")
        return Cutting(None if self.beats == AUTO else int(self.beats), boundaries)

    def text_encoder(self, out: Path) -> TextEncoder:
        """Encoder of the captions of a library at `out`.

        Raises:
            InvalidInput: no encoder has this name.
            InvalidArtifact: the library to extend is broken.
        """
        name = self.encoder
        if name == AUTO:
            extended = self.append and (out / NAME).is_file()
            name = Manifest.read(out).embedding.text_encoder if extended else "minilm"
        return text_encoder(name)


def build(source: Path, out: Path, options: BuildOptions, console: Console) -> dict[str, Any]:
    """Build or extend the library `out` from what is at `source`; returns a JSON-serialisable summary.

    Raises:
        InvalidInput: nothing usable, or an option, the source or the target makes no sense.
        ChoreoError: see `build_library`.
    """
    began = time.monotonic()
    cutting, encoder = options.cutting(), options.text_encoder(out)
    if options.index not in KINDS:  # here already: a library is indexed last
        raise InvalidInput("index", f"must be one of {', '.join(KINDS)}, got {options.index!r}")
    sources = open_sources(source, options.licence, options.genre, options.up)
    if options.cleared:
        sources = cleared(sources)
    try:
        report = _built(sources, out, options, cutting, encoder, console)
    except OSError as error:
        raise InvalidInput("out", f"cannot be written: {error}") from error
    _summarise(report, out, console)
    return {
        "library": str(out),
        "phrases": report.phrases,
        "added": report.added,
        "frames": report.frames,
        "recordings": report.recordings,
        "resumed": report.resumed,
        "skipped": [asdict(remark) for remark in report.skipped],
        "notes": [asdict(remark) for remark in report.notes],
        "version": report.version,
        "seconds": {"build": round(time.monotonic() - began, 3)},
    }


def _built(
    sources: Sources, out: Path, options: BuildOptions, cutting: Cutting, encoder: TextEncoder, console: Console
) -> BuildReport:
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=len(sources.recordings))

        def progress(done: int, name: str) -> None:
            bar.update(task, completed=done, description=name[:40])

        return build_library(
            sources.recordings,
            out,
            encoder,
            cutting,
            progress,
            append=options.append,
            index=options.index,
            skipped=sources.skipped,
        )


def _summarise(report: BuildReport, out: Path, console: Console) -> None:
    if report.resumed:
        console.print(f"{report.resumed} recordings were done already by an unfinished build", highlight=False)
    for remarks, what in ((report.skipped, "left out"), (report.notes, "noted")):
        for remark in remarks[:_SHOWN]:
            console.print(f"{what}: {remark.source}: {remark.reason}", highlight=False, markup=False, soft_wrap=True)
        if len(remarks) > _SHOWN:
            console.print(f"{what}: {len(remarks) - _SHOWN} more, see {out / REPORT}", highlight=False, markup=False)
