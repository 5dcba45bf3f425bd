"""Values of fields that come as text, as in forms and tables."""

import re
from types import NoneType
from typing import Any, Final, get_args, get_origin

from choreo.errors import InvalidInput
from serving.pipeline.directing import STRUCTURED, structured
from serving.pipeline.fields import DanceFields, GenerateFields

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")


def field_kind(name: str, fields: type[DanceFields]) -> type | None:
    """The type of a scalar field; None where there is no such field."""
    info = fields.model_fields.get(name)
    if info is None:
        return None
    kind: type = next(t for t in get_args(info.annotation) or (info.annotation,) if t is not NoneType)
    return kind


LISTS: Final = frozenset(
    name
    for name in GenerateFields.model_fields.keys() - STRUCTURED
    if get_origin(field_kind(name, GenerateFields)) is list
)
"""Fields that are lists, whose items errors name: `beats.3`."""


def typed_text(name: str, text: str, fields: type[DanceFields]) -> Any:
    """A value of a form or a table, which have only text, as what its field is; unknown fields stay text.

    Raises:
        InvalidInput: it is not of that type.
    """
    kind = field_kind(name, fields)
    if name in STRUCTURED & fields.model_fields.keys():
        return structured(name, text)
    if name in LISTS:
        return [_number(f"{name}.{i}", item.strip()) for i, item in enumerate(text.split(",") if text else ())]
    if kind is bool:
        if text not in ("true", "false"):
            raise InvalidInput(name, f"must be true or false, got {text[:32]!r}")
        return text == "true"
    if kind is int:
        if not _INTEGER.fullmatch(text):
            raise InvalidInput(name, f"must be a whole number, got {text[:32]!r}")
        return int(text)
    return _number(name, text) if kind is float else text


def _number(name: str, text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise InvalidInput(name, f"must be a number, got {text[:32]!r}")
    return float(text)
