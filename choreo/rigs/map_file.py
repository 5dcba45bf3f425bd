"""The file in which a user says which joint of a rig is which: JSON or YAML, part to joint name.

    left_knee: Shin_L
    spine: [Waist, Chest]
    left_collar: null

Parts are those of `joint_map`; what is not named is found as without the file.
"""

import json
from pathlib import Path
from typing import Any, Final

from choreo.errors import InvalidInput, MissingDependency
from choreo.rigs.joint_map import CHAINS, OPTIONAL, REQUIRED, GivenMap

MAX_BYTES: Final = 2**16
PARTS: Final = (*REQUIRED, *OPTIONAL, *CHAINS)


def read_map(path: Path, field: str = "map") -> GivenMap:
    """Read the file.

    Raises:
        InvalidInput: it cannot be read, is too large, or says something else; the message names the part.
        MissingDependency: it is YAML, and PyYAML is not installed.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(field, f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise InvalidInput(field, f"is larger than {MAX_BYTES // 1024} KiB")
    return given_map(_document(data, path.suffix.lower() == ".json", field), field)


def given_map(document: Any, field: str = "map") -> GivenMap:
    """The map of a parsed document.

    Raises:
        InvalidInput: it says something else.
    """
    if not isinstance(document, dict):
        raise InvalidInput(field, "must be an object of part and joint name")
    names: dict[str, tuple[str, ...]] = {}
    for part, value in document.items():
        if part not in PARTS:
            raise InvalidInput(field, f"names the part {str(part)[:32]!r}; there are {', '.join(PARTS)}")
        listed = [] if value is None else value if isinstance(value, list) else [value]
        if not all(isinstance(name, str) for name in listed) or (len(listed) > 1 and part not in CHAINS):
            raise InvalidInput(field, f"must give {part} the name of one joint, or null")
        names[part] = tuple(listed)
    return GivenMap(names)


def _document(data: bytes, is_json: bool, field: str) -> Any:
    try:
        text = data.decode("utf-8")
        if is_json:
            return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(field, "is not JSON") from error
    try:
        import yaml
    except ImportError as error:
        raise MissingDependency("a map file in YAML needs PyYAML; write it in JSON, or: pip install PyYAML") from error
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(field, "is not YAML") from error
