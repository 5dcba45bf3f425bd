"""Takes as files of a data set, all of them or none, with the account of the import."""

import io
import json
import re
from pathlib import Path
from typing import Final

import numpy as np

from choreo.data.layouts.couples import couples_arrays
from choreo.data.poses.importing import Imported
from choreo.data.poses.report import report_page
from choreo.errors import InvalidInput, NotSaved
from choreo.files import appearing_together, atomic_write, disk_is_full
from choreo.motion.formats.npz import npz_bytes

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def check_name(name: str) -> str:
    """Check the name of a take, which becomes that of its files.

    Raises:
        InvalidInput: not 1 to 64 letters, digits, `-` and `_`, or one that ends as parts of takes do.
    """
    if not _NAME.fullmatch(name) or re.search(r"_s\d+$", name):
        raise InvalidInput(
            "name", f"must be 1 to 64 letters, digits, - and _, and not end in _s and digits, got {name[:64]!r}"
        )
    return name


def write_import(imported: Imported, folder: Path, name: str) -> list[Path]:
    """Write what was imported; the files.

    Two dancers become `<name>.npz` as `choreo.data.layouts.couples` reads it, one dancer becomes a motion archive for
    each take. The account is `<name>.html` and `<name>.json`. Files of that name are replaced; what else is in the
    folder stays.

    Raises:
        InvalidInput: the name or the folder cannot be used, or a dancer goes more than 32 m away.
        NotSaved: the disk is full.
    """
    check_name(name)
    files = _archives(imported, name)
    files[f"{name}.html"] = report_page(imported, name).encode()
    files[f"{name}.json"] = (json.dumps(imported.document, indent=1) + "\n").encode()
    if folder.exists() and not folder.is_dir():
        raise InvalidInput("out", f"{folder} is not a folder")
    try:
        with appearing_together(folder) as part:
            for file, content in files.items():
                atomic_write(part / file, content)
    except OSError as error:
        if disk_is_full(error):
            raise NotSaved(f"nothing could be written to {folder}: {error.strerror}; make room") from error
        raise InvalidInput("out", f"{folder} cannot be written: {error.strerror}") from error
    return [folder / file for file in files]


def _archives(imported: Imported, name: str) -> dict[str, bytes]:
    takes = {f"{name}{suffix}": take for suffix, take in imported.takes.items()}
    if all(len(take.dancers) == 1 for take in takes.values()):
        return {f"{key}.npz": npz_bytes(take.single()) for key, take in takes.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **couples_arrays(takes))
    return {f"{name}.npz": buffer.getvalue()}
