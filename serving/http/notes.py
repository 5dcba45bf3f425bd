"""Notes on a request, as a header: not every format has room for them in its body."""

from collections.abc import Sequence
from typing import Final

HEADER: Final = "X-Notes"


def notes_header(notes: Sequence[str]) -> dict[str, str]:
    """The header with all notes, separated by "; "; none without notes. Only plain ASCII gets into a header."""
    text = "; ".join(notes).encode("ascii", "replace").decode()
    return {HEADER: "".join(c if c.isprintable() else "?" for c in text)} if notes else {}
