"""A row of a catalog as a request: the checks of POST /v1/generate, and the defaults of a catalog."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from choreo.errors import InvalidInput
from choreo.motion.formats.formats import Format
from serving.batch.attachments import AttachmentReader
from serving.batch.catalog import ATTACHMENTS, CatalogRow
from serving.pipeline.directing import STRUCTURED, structured
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.validation import validated_request
from serving.settings import Settings

SEED_BYTES: Final = 6
"""Of a seed that is made from an id; so small that every JSON reader keeps it exact."""
SONGS: Final = 16
"""Items with files that are under way at a time, which bounds the memory that their files take."""


@dataclass(frozen=True)
class ItemDefaults:
    """What applies to all items of a run.

    Attributes:
        formats: of the files of every item; empty: the row's `format`, or npz.
        preset: of rows that name none.
    """

    formats: tuple[str, ...] = ()
    preset: str | None = None


def seed_of(custom_id: str) -> int:
    """The seed of an item whose row has none."""
    return int.from_bytes(hashlib.sha256(custom_id.encode()).digest()[:SEED_BYTES], "big")


def names_files(row: CatalogRow) -> bool:
    """Whether an item brings a song or other files along."""
    return any(name in row.body for name in ATTACHMENTS)


@dataclass(frozen=True)
class Item:
    """A row whose fields and files have been checked.

    Attributes:
        values: fields of `POST /v1/generate`, with the run's defaults; `format` is the first of `formats`.
        files: that the row names.
        request: what both ask for.
        formats: of the item's files.
    """

    values: dict[str, Any]
    files: Attachments
    request: MotionRequest
    formats: tuple[Format, ...]


def request_of(
    row: CatalogRow, defaults: ItemDefaults, reader: AttachmentReader, settings: Settings
) -> tuple[MotionRequest, Sequence[Format]]:
    """The request of an item, and the formats of its files; see `item_of`."""
    item = item_of(row, defaults, reader, settings)
    return item.request, item.formats


def item_of(row: CatalogRow, defaults: ItemDefaults, reader: AttachmentReader, settings: Settings) -> Item:
    """An item as it is asked for. Reads the files that it names. Blocking.

    Raises:
        InvalidInput: a field of the row is wrong; the item is at fault, and no other.
        OSError: a file cannot be read.
    """
    if row.fault is not None:
        raise row.fault
    values = {name: value for name, value in row.body.items() if value is not None}
    parts = {name: values.pop(name) for name in ATTACHMENTS if name in values}
    if "audio_url" in values:
        raise InvalidInput("audio_url", "is for servers; name the song in audio, by its path or address")
    formats = tuple(Format.named(name) for name in defaults.formats or [_text(values.get("format", "npz"))])
    values["format"] = formats[0].name
    values.setdefault("seed", seed_of(row.custom_id))
    if defaults.preset is not None:
        values.setdefault("preset", defaults.preset)
    for name in STRUCTURED & values.keys():
        if isinstance(values[name], str):
            values[name] = _structured(name, values[name], reader)
    fields = parse_fields(values)
    files = Attachments(**{name: reader.read(name, named) for name, named in parts.items()})
    request = validated_request(fields, files, settings)
    # Nobody waits for one item of many.
    return Item(values, files, replace(request, deadline=math.inf, request_id=row.custom_id), formats)


def _structured(name: str, text: str, reader: AttachmentReader) -> Any:
    """The value of a structured field that is JSON text, or the path of a file of it."""
    if text.lstrip()[:1] not in ("{", "["):
        try:
            text = reader.read(name, text).decode()
        except UnicodeDecodeError as error:
            raise InvalidInput(name, f"names a file that is not UTF-8: {text[:100]!r}") from error
    return structured(name, text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput("format", "must be a string")
    return value
