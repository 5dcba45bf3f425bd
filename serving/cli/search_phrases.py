"""`choreo phrases search`: the phrases of a library that a song or a prompt would be given as examples."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from choreo.motion.skeleton import WINDOW
from choreo.music.encoders import DSP35
from serving.cli.song_file import song_bytes
from serving.http.phrase_documents import found_document
from serving.pipeline.fields import SearchFields, parse
from serving.pipeline.phrases import PhraseQuery
from serving.pipeline.request import Attachments
from serving.pipeline.validation import make_search
from serving.settings import Settings
from serving.stages.encoder import Encoder
from serving.stages.retriever import Retriever

NUMBERS = {
    "rank": "", "score": "score", "similarity": "cosine", "seconds": "s", "tempo": "BPM", "energy": "energy",
}  # fmt: skip
"""Members of a phrase, and the titles of their columns on a terminal."""


@dataclass(frozen=True)
class LibraryEncoders:
    """The encoders that a library is searched by: its own for sentences, and the default one for songs.

    Attributes:
        text_encoder: name of the encoder that the library was built with.
    """

    text_encoder: str
    music_encoder: str = DSP35.name
    music_dim: int = DSP35.dim
    window: int = WINDOW


async def search_phrases(
    fields: dict[str, Any], song: Path | None, features: Path | None, phrases: Path | None, settings: Settings
) -> dict[str, Any]:
    """The answer of `POST /v1/phrases/search`, from this process and with the library's own text encoder, and `notes`.

    Raises:
        InvalidInput: a flag is wrong, or there is no library to search.
        MissingDependency: the library's text encoder is not on this machine.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    audio = song_bytes(song, settings) if song else None
    request, top_n = make_search(parse(SearchFields, given), Attachments(audio, features), settings)
    encoder = Encoder(settings)
    retriever = Retriever(phrases or settings.phrases, cross_encoder=settings.cross_encoder)
    try:
        await retriever.require()
        library = await retriever.library()
        assert library is not None  # it is open now
        encoded = await encoder.encode(request, LibraryEncoders(library.text_encoder))
        found = await retriever.search(PhraseQuery.of(request, encoded), top_n)
        return found_document(request, encoded, found) | {"notes": list(encoded.notes)}
    finally:
        encoder.close()
        retriever.close()


def show(document: dict[str, Any], console: Console) -> None:
    """Print an answer for people."""
    library = document["library"]
    facts = f"library {library['version'][:12]}, {library['phrases']} phrases, {library['index']} index"
    console.print(facts, highlight=False)
    for note in document["notes"]:
        console.print(f"note: {note}", highlight=False, markup=False)
    if document["reason"]:
        console.print(document["reason"], highlight=False)
        return
    table = Table()
    for title in NUMBERS.values():
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("phrase", overflow="fold")
    for phrase in document["phrases"]:
        table.add_row(*(f"{phrase[name]:.4g}" for name in NUMBERS), _words(phrase))
    console.print(table)


def _words(phrase: dict[str, Any]) -> Text:
    """Names of a phrase, not to be read as markup."""
    origin = f"{phrase['source']} at {phrase['start']:g} s"
    names = ", ".join(name for name in (phrase["genre"], origin, phrase["licence"], phrase["id"]) if name)
    return Text("\n".join(line for line in (phrase["caption"], names) if line))
