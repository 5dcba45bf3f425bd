"""What a job is submitted as: a list of requests, or a catalog with the files that its rows name."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

from choreo.client.dance import FORMAT
from choreo.client.fields import GenerateFields, Value, scalars
from choreo.client.parts import AUTO, UPRIGHT, Features, Start, features_upload, start_upload
from choreo.client.uploads import Source, Upload, of_bytes, upload
from choreo.errors import InvalidInput

MAX_CATALOG_BYTES: Final = 64 << 20
MOTIONS: Final = ("start", "end", "clip", "leader")
PARTS: Final = ("audio", "features", *MOTIONS, "rig")
CATALOG: Final = "catalog"
_LINE: Final = re.compile(r"catalog\[([0-9]{1,9})\]")


class JobRequest(GenerateFields, total=False):
    """One request of a job, with the names of `POST /v1/generate`. It may also be a row: `custom_id` and `body`.

    Attributes:
        text_prompt: what to dance, in words.
        audio: path, bytes or open file of a song.
        features: path or array of music features, in place of a song.
        start: path of a motion file, or a motion, that the dance begins with.
        end: the same, of one that it ends with.
        clip: the same, of one that constraints take spans or poses of.
        rig: path, bytes or open file of a character, which is the result with the dance in it.
        leader: path of a motion file, or a motion, of one dancer whom a duet model gives a partner.
        seed: None: the server draws it.
        timeout: seconds that the request may take once it has begun.
        format: npz where there is none.
    """

    text_prompt: str | None
    audio: Source
    features: Features
    start: Start
    end: Start
    clip: Start
    rig: Source
    leader: Start
    seed: int | None
    timeout: float | None
    format: str


@dataclass(frozen=True)
class Submission:
    """A job, ready to be sent.

    Attributes:
        requests: of a job without files.
        uploads: the catalog and its files, otherwise.
        label: what the caller knows a line of the catalog by, as a format of its number.
    """

    requests: list[dict[str, Any]]
    uploads: tuple[Upload, ...]
    label: Callable[[int], str]

    def error(self, error: InvalidInput) -> InvalidInput:
        """An error of the server with the caller's name of the request in place of the catalog's line."""
        found = _LINE.match(error.field)
        if found is None:
            return error
        named = InvalidInput(self.label(int(found[1])) + error.field[found.end() :], error.message)
        for note in getattr(error, "__notes__", ()):
            named.add_note(note)
        return named


def of_requests(requests: Sequence[Mapping[str, Any]]) -> Submission:
    """A submission of requests.

    Raises:
        InvalidInput: a request is none, or a file of it cannot be read; the field begins with `requests[3]`.
    """
    if isinstance(requests, str | bytes | Mapping) or not isinstance(requests, Sequence):
        raise InvalidInput("requests", "must be a list of requests")
    files = _Files(None, {})
    rows = [_row(row, f"requests[{i}]", files) for i, row in enumerate(requests)]
    if not files.uploads:
        return Submission(rows, (), str)
    text = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return Submission([], (_catalog(text), *files.uploads), lambda line: f"requests[{line - 1}]")


def of_catalog(catalog: str | PathLike[str], songs: Mapping[str, Source] | None) -> Submission:
    """A submission of a file of JSON lines, each `{"custom_id": ..., "body": {fields of POST /v1/generate}}`.

    Args:
        catalog: the file; `audio`, `features` and `start` in it are keys of `songs`, or paths within its folder.
        songs: files by the names that the catalog has for them.

    Raises:
        InvalidInput: the catalog or a file that it names cannot be used; the field begins with `catalog[3]`, line 3.
    """
    path = Path(catalog)
    try:
        if path.stat().st_size > MAX_CATALOG_BYTES:
            raise InvalidInput(CATALOG, f"is larger than {MAX_CATALOG_BYTES >> 20} MiB; submit it in pieces")
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InvalidInput(CATALOG, f"{path} cannot be read: {error.strerror or error}") from error
    files = _Files(path.absolute().parent, songs or {})
    # An empty line stays one, so that the server counts the lines as the file does.
    kept = [_line(line, f"{CATALOG}[{number}]", files) if line.strip() else b"" for number, line in enumerate(lines, 1)]
    return Submission([], (_catalog(b"\n".join(kept)), *files.uploads), lambda line: f"{CATALOG}[{line}]")


class _Files:
    """The files that rows name, each sent once.

    Args:
        folder: of the catalog; None where rows hold the files themselves.
        songs: files by name.

    Attributes:
        uploads: what is sent.
        unread: names of starts that are sent as they are.
    """

    def __init__(self, folder: Path | None, songs: Mapping[str, Source]) -> None:
        self._folder, self._songs = folder, songs
        self._names: dict[tuple[str, str, str], str] = {}
        self.uploads: list[Upload] = []
        self.unread: set[str] = set()

    def named(self, kind: str, value: Any, label: str, up: str) -> str:
        """The name under which a file is sent; `up` is the axis that points up in a start."""
        what = str(value) if isinstance(value, str | PathLike) else f"\0{id(value)}"
        key = (kind, what, up if kind in MOTIONS else "")
        if key not in self._names:
            name, source = f"file-{len(self.uploads)}", self._source(value, label)
            self.uploads.append(self._upload(kind, source, name, label, up))
            if isinstance(source, bytes):
                self.unread.add(name)
            self._names[key] = name
        return self._names[key]

    def _source(self, value: Any, label: str) -> Any:
        if self._folder is None:
            return value
        if not isinstance(value, str):
            raise InvalidInput(label, "must be the name of a file")
        if value in self._songs:
            return self._songs[value]
        try:
            path = (self._folder / value).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise InvalidInput(label, "is no path") from error
        if not path.is_relative_to(self._folder.resolve()):
            raise InvalidInput(label, f"{value[:80]} is not within the folder of the catalog, nor among the songs")
        return path

    @staticmethod
    def _upload(kind: str, source: Any, name: str, label: str, up: str) -> Upload:
        if kind == "features":
            made = features_upload(source, name, label)
        elif kind in MOTIONS:
            made, _ = start_upload(source, up, name, label)
        else:
            made = upload(source, name, label)
        return Upload(name, name, made.size, made.open)


def _catalog(text: bytes) -> Upload:
    return of_bytes(text, CATALOG, "catalog.jsonl")


def _line(line: bytes, label: str, files: _Files) -> bytes:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(label, "is not JSON") from error
    if not isinstance(row, dict) or "body" not in row:
        raise InvalidInput(label, 'must be an object like {"custom_id": "a", "body": {...}}')
    return json.dumps(_row(row, label, files)).encode()


def _row(row: Any, label: str, files: _Files) -> dict[str, Any]:
    """A row with the names of its files in their place."""
    if not isinstance(row, Mapping):
        raise InvalidInput(label, "must be an object with the fields of a request")
    if "body" not in row:
        return {"body": _body(row, label, files)}
    if not isinstance(row["body"], Mapping):
        raise InvalidInput(f"{label}.body", "must be an object with the fields of a request")
    named = _scalars({name: value for name, value in row.items() if name != "body"}, label)
    return {**named, "body": _body(row["body"], f"{label}.body", files)}


def _body(body: Mapping[str, Any], label: str, files: _Files) -> dict[str, Any]:
    fields = _scalars({name: value for name, value in body.items() if name not in PARTS}, label)
    parts = {}
    for name in PARTS:
        if body.get(name) is not None:
            parts[name] = files.named(name, body[name], f"{label}.{name}", str(fields.get("up", AUTO)))
    turned = any(name in parts and parts[name] not in files.unread for name in MOTIONS)
    usual = {} if "rig" in parts else {"format": FORMAT}  # a character comes back in the format of its file
    return usual | fields | parts | ({"up": UPRIGHT} if turned else {})


def _scalars(values: Mapping[str, Any], label: str) -> dict[str, Value]:
    try:
        return scalars(values)
    except InvalidInput as error:
        raise InvalidInput(f"{label}.{error.field}", error.message) from error
