"""`choreo phrases search`: what of a library a song or a prompt would be given as examples."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from choreo.errors import InvalidInput
from choreo.generators.checkpoint import read_config
from serving.cli.song_file import song_bytes
from serving.http.phrase_documents import found_document
from serving.pipeline.contracts import PhraseQuery
from serving.pipeline.request import Attachments, SearchFields, make_search, parse
from serving.settings import Settings
from serving.stages.encoder import Encoder
from serving.stages.retriever import Retriever

NUMBERS = {
    "rank": "", "score": "score", "similarity": "cosine", "seconds": "s", "tempo": "BPM", "energy": "energy",
}  # fmt: skip
"""Members of a phrase, and the titles of their columns on a terminal."""


async def search_phrases(
    fields: dict[str, Any], song: Path | None, features: Path | None, phrases: Path | None, settings: Settings
) -> dict[str, Any]:
    """The answer of `POST /v1/phrases/search`, from this process and for the model of the settings.

    Raises:
        InvalidInput: a flag is wrong, or there is no library to search that fits the model.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    audio = song_bytes(song, settings) if song else None
    request, top_n = make_search(parse(SearchFields, given), Attachments(audio, features), settings)
    spec = read_config(settings.weights).spec
    if request.model not in (None, spec.name):
        raise InvalidInput("model", f"must be {spec.name}, got {request.model!r}")
    encoder = Encoder(settings)
    retriever = Retriever(phrases or settings.phrases, cross_encoder=settings.cross_encoder)
    try:
        await retriever.require((spec.text_encoder, spec.text_dim))
        encoded = await encoder.encode(request, spec)
        return found_document(request, encoded, await retriever.search(PhraseQuery.of(request, encoded), top_n))
    finally:
        encoder.close()
        retriever.close()


def show(document: dict[str, Any], console: Console) -> None:
    """Print an answer for people."""
    library = document["library"]
    facts = f"library {library['version'][:12]}, {library['phrases']} phrases, {library['index']} index"
    console.print(facts, highlight=False)
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
