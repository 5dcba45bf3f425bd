"""Where the files of an item are: folders of a thousand items, and names that no item shares with another."""

import hashlib
import re
from typing import Final

from choreo.errors import InvalidInput

FOLDER: Final = "files"
PER_FOLDER: Final = 1000
"""Items whose files share a folder: few enough for every file system and every `ls`."""
MAX_ID_CHARS: Final = 256
MAX_PLAIN_CHARS: Final = 100
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


def checked_id(value: object, field: str) -> str:
    """An item's id.

    Raises:
        InvalidInput: it is no string of 1 to 256 printable characters.
    """
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID_CHARS or not value.isprintable():
        shown = f", got {value[:32]!r}" if isinstance(value, str) else f", got {type(value).__name__}"
        raise InvalidInput(field, f"must be a string of 1 to {MAX_ID_CHARS} printable characters{shown}")
    return value


def safe_name(custom_id: str) -> str:
    """A file name, without its suffix, that is the item's alone.

    Ids of letters, digits and ._- are kept. Others keep what they have of these, followed by ~ and a hash; no id that
    is kept has a ~.
    """
    if _PLAIN.fullmatch(custom_id) and len(custom_id) <= MAX_PLAIN_CHARS:
        return custom_id
    digest = hashlib.sha256(custom_id.encode()).hexdigest()[:16]
    return f"{_UNSAFE.sub('_', custom_id).strip('._-')[:MAX_PLAIN_CHARS]}~{digest}"


def file_name(index: int, custom_id: str, suffix: str) -> str:
    """Path of a file of the item at a place of the catalog (from 0), below the folder of results."""
    return f"{FOLDER}/{index // PER_FOLDER:05d}/{safe_name(custom_id)}{suffix}"
