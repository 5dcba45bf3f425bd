"""Answers of the server, typed. Members that a newer server adds are kept and can be read as attributes."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from choreo.client.wire import Answer
from choreo.errors import UnexpectedAnswer


class Document(BaseModel):
    """Base of what the server answers in JSON."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


D = TypeVar("D", bound=Document)


class Model(Document):
    """A served generator.

    Attributes:
        name: what a request's `model` may be.
        default: whether it answers requests that name none.
        window: frames that it makes at a time; longer dances are joined from windows.
        fps: frames per second.
        music_encoder, text_encoder: what songs and prompts are encoded with.
        weights_sha256: of the weights that it was exported from; empty where the server does not tell it.
    """

    name: str
    default: bool = False
    window: int
    fps: float
    music_encoder: str = ""
    text_encoder: str = ""
    weights_sha256: str = ""


class Library(Document):
    """A phrase library in use.

    Attributes:
        version: hash of its content.
        phrases: how many.
        seconds: how long they are together.
        licences: number of phrases by licence tag.
    """

    version: str
    phrases: int
    seconds: float
    licences: dict[str, int] = {}


class Phrase(Document):
    """A motion phrase that was found.

    Attributes:
        rank: from 1.
        score: after reranking.
        id: in its library.
        source: recording that it was cut from.
        seconds: its length.
    """

    rank: int
    score: float
    id: str
    source: str = ""
    seconds: float
    genre: str | None = None
    caption: str | None = None
    tempo: float | None = None
    licence: str | None = None


class SearchResult(Document):
    """Phrases, best first.

    Attributes:
        library: that was searched; None where there is none.
        query: what was looked for.
        reason: why nothing was found, if nothing was.
    """

    phrases: tuple[Phrase, ...]
    library: Library | None = None
    query: dict[str, Any] = {}
    reason: str | None = None


class Version(Document):
    """What a server runs on.

    Attributes:
        version: of the program.
        versions: of Python and of packages, by name.
    """

    version: str
    versions: dict[str, str] = {}


class Models(Document):
    """The answer that lists models."""

    models: tuple[Model, ...]


class LibraryAnswer(Document):
    """The answer that describes the library."""

    library: Library | None


def read_document(kind: type[D], answer: Answer) -> D:
    """A document of the expected kind.

    Raises:
        UnexpectedAnswer: the answer is something else.
    """
    return document_of(kind, read_json(answer))


def document_of(kind: type[D], value: Any) -> D:
    """A document of the expected kind from a JSON value.

    Raises:
        UnexpectedAnswer: it is something else.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise UnexpectedAnswer(f"the answer is no {kind.__name__}: {where}: {first['msg']}") from error


def read_json(answer: Answer) -> Any:
    """The JSON value of an answer.

    Raises:
        UnexpectedAnswer: it is not JSON.
    """
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer("the answer is not JSON; is this the address of a choreo server?") from error
