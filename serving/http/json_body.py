"""JSON bodies: one object, whose long strings are taken out before it is parsed.

What makes a valid body large is its attachments, which are base64. The parser holds Python's lock for as long as it
reads, a tenth of a second for 60 MB, so that the event loop stands still even where another thread parses; and all it
makes of strings is copied again. Long strings are found, and decoded, by many short steps instead.
"""

import binascii
import json
import secrets
from dataclasses import dataclass
from typing import Any, Final

from choreo.errors import InvalidInput
from choreo.music.rhythm import MAX_BEATS
from serving.pipeline.directing import STRUCTURED, check_depth
from serving.pipeline.text_values import LISTS

MAX_SEPARATORS: Final = 4096 + 2 * MAX_BEATS
"""Commas, colons and opening brackets. Parsing and validation take a hundred times the memory of each."""
PLAIN_BYTES: Final = 256 << 10
"""A body without its long strings; one that is no larger is parsed as it is."""
LONG_BYTES: Final = 64 << 10
"""Strings of more bytes are long."""
MAX_LONG: Final = 8
MAX_STRINGS: Final = 2 * MAX_SEPARATORS
_STEP_BYTES: Final = 1 << 20
_QUOTE, _BACKSLASH = b'"', ord("\\")


@dataclass(frozen=True)
class JsonLimits:
    """How much of what a body may have.

    Attributes:
        depth: levels of lists and objects between the body and the members of a request.
    """

    separators: int = MAX_SEPARATORS
    plain_bytes: int = PLAIN_BYTES
    long_strings: int = MAX_LONG
    strings: int = MAX_STRINGS
    depth: int = 0


ONE_REQUEST: Final = JsonLimits()


@dataclass(frozen=True)
class LongString:
    """A string as it stands in the body, between its quotes, with its escapes."""

    text: memoryview


@dataclass(frozen=True)
class _NotJson:
    """Stands where a constant was that JSON does not have, so that its field can be named."""

    constant: str


def parse_json(body: bytes | bytearray, limits: JsonLimits = ONE_REQUEST) -> dict[str, Any]:
    """A JSON object; its long strings as `LongString`.

    Raises:
        InvalidInput: it is not one JSON object, is too large, names a member twice, or holds NaN or infinity.
    """
    mark, plain, taken = secrets.token_hex(16), body, list[LongString]()
    if len(body) > limits.plain_bytes or (limits.depth and len(body) > LONG_BYTES):
        plain, taken = _without_long_strings(body, mark, limits)
    count = sum(plain.count(separator) for separator in (b",", b":", b"[", b"{"))  # those within strings as well
    if count > limits.separators:
        raise InvalidInput("body", f"has more than {limits.separators} members and items")
    try:
        values = json.loads(plain, parse_constant=_NotJson, object_pairs_hook=_unique)
    except InvalidInput:
        raise
    except (ValueError, RecursionError) as error:  # a broken encoding and an endless integer are ValueErrors too
        raise InvalidInput("body", "is not valid JSON") from error
    if not isinstance(values, dict):
        raise InvalidInput("body", "must be a JSON object")
    return {name: _checked(name, name, value, mark, taken, limits.depth) for name, value in values.items()}


def from_base64(value: Any) -> bytes:
    """The bytes of a base64 string, short or long.

    Raises:
        ValueError: it is not valid base64.
        TypeError: it is no string.
    """
    if isinstance(value, LongString):
        return _decoded(value.text)
    if not isinstance(value, str):
        raise TypeError(f"must be a base64 string in JSON, got {type(value).__name__}")
    if "\\" in value:
        raise ValueError("not base64")
    return _decoded(memoryview(value.encode("ascii")))


def _without_long_strings(body: bytes | bytearray, mark: str, limits: JsonLimits) -> tuple[bytes, list[LongString]]:
    """The body with the mark and a number in place of each long string, and these strings."""
    whole, kept, taken, at, size, strings = memoryview(body), bytearray(), list[LongString](), 0, 0, 0
    while at < len(body):
        start = body.find(_QUOTE, at)
        before = (start if start >= 0 else len(body)) - at
        end = _end(body, start + 1) if start >= 0 else len(body) - 1
        is_long = start >= 0 and end - start > LONG_BYTES
        size += before if is_long else end + 1 - at
        strings += 1
        if size > limits.plain_bytes or strings > limits.strings or len(taken) == limits.long_strings:
            most = f"{limits.plain_bytes >> 10} KiB or {limits.strings} strings"
            raise InvalidInput("body", f"has more than {most} besides base64")
        if is_long:
            kept += body[at:start] + f'"{mark}{len(taken)}"'.encode()
            taken.append(LongString(whole[start + 1 : end]))
        else:
            kept += whole[at : end + 1]
        at = end + 1
    return bytes(kept), taken


def _end(body: bytes | bytearray, begin: int) -> int:
    """Where a string ends."""
    at = begin
    while (quote := body.find(_QUOTE, at)) >= 0:
        before = quote
        while before > begin and body[before - 1] == _BACKSLASH and quote - before <= LONG_BYTES:
            before -= 1
        if (quote - before) % 2 == 0:
            return quote
        if quote - begin > LONG_BYTES:
            raise InvalidInput("body", f"has a string of more than {LONG_BYTES >> 10} KiB that is not base64")
        at = quote + 1
    raise InvalidInput("body", "is not valid JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise InvalidInput(name, "is given more than once")
        values[name] = value
    return values


def _checked(name: str, path: str, value: Any, mark: str, taken: list[LongString], depth: int) -> Any:
    """A value without constants that JSON does not have; fields are flat, so one level below `depth` is enough."""
    if name.startswith(mark):
        raise InvalidInput("body", "has a member whose name is too long")
    if name in STRUCTURED:
        check_depth(path, value)
        return _nested(path, value, mark)
    if depth and isinstance(value, list) and name not in LISTS:
        return [_checked("", f"{path}[{i}]", item, mark, taken, depth - 1) for i, item in enumerate(value)]
    if depth and isinstance(value, dict):
        return {key: _checked(key, f"{path}.{key}", item, mark, taken, depth - 1) for key, item in value.items()}
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else [value]
    for i, item in enumerate(inner):
        if isinstance(item, _NotJson):
            place = f"{path}.{i}" if name in LISTS and isinstance(value, list) else path
            raise InvalidInput(place, f"must be finite, got {item.constant}")
    if isinstance(value, str) and value.startswith(mark):
        return taken[int(value.removeprefix(mark))]
    return value


def _nested(path: str, value: Any, mark: str) -> Any:
    """A structured value, whose numbers are finite and whose strings are short."""
    if isinstance(value, dict):
        return {key: _nested(f"{path}.{key}", item, mark) for key, item in value.items()}
    if isinstance(value, list):
        return [_nested(f"{path}.{i}", item, mark) for i, item in enumerate(value)]
    if isinstance(value, _NotJson):
        raise InvalidInput(path, f"must be finite, got {value.constant}")
    if isinstance(value, str) and value.startswith(mark):
        raise InvalidInput(path, "is too long")
    return value


def _decoded(text: memoryview) -> bytes:
    """Base64 in steps; a slash may be escaped, as some writers of JSON do."""
    done, rest, padded = bytearray(), b"", False
    for start in range(0, len(text), _STEP_BYTES):
        step = rest + text[start : start + _STEP_BYTES]
        halves = step.endswith(b"\\")
        step, half = (step[:-1], b"\\") if halves else (step, b"")
        step = step.replace(b"\\/", b"/")
        fours = len(step) // 4 * 4
        part = binascii.a2b_base64(step[:fours], strict_mode=True)
        if padded and fours:
            raise ValueError("something follows the padding")
        padded = padded or len(part) != fours // 4 * 3
        done += part
        rest = step[fours:] + half
    if rest:
        raise ValueError("it is cut off")
    return bytes(done)
