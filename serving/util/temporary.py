"""Where temporary files go whose paths other programs read: into shell lines, ASCII locales and Unix sockets."""

import os
import re
import tempfile
from pathlib import Path
from typing import Final

from choreo.errors import InvalidInput

LONGEST: Final = 64
_PLAIN: Final = re.compile(r"[A-Za-z0-9._/+-]+")
_ELSEWHERE: Final = ("/tmp", "/var/tmp", "/dev/shm")


def temporary_folders() -> list[Path]:
    """Folders that temporary files may be in, the one that the user chose first."""
    try:
        chosen = tempfile.gettempdir()
    except OSError:  # Python can write to none of those that it knows
        chosen = os.environ.get("TMPDIR") or _ELSEWHERE[0]
    return [Path(folder) for folder in dict.fromkeys((chosen, *_ELSEWHERE))]


def safe_folder(longest: int = LONGEST) -> Path:
    """A temporary folder whose path no shell splits and every locale can read.

    Args:
        longest: characters of its path.

    Raises:
        InvalidInput: none of them can be written to.
    """
    folders = temporary_folders()
    for folder in folders:
        plain = _PLAIN.fullmatch(str(folder)) is not None and len(str(folder)) <= longest
        if plain and is_writable(folder):
            return folder
    looked = ", ".join(ascii(str(folder)) for folder in folders)
    message = f"must be a folder that can be written to, its path short and of plain ASCII; none of {looked} is"
    raise InvalidInput("TMPDIR", message)


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder."""
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
