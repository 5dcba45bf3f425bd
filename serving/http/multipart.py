"""Multipart bodies that are whole, with heads of parts that are no larger than heads are."""

from typing import Final

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser

MAX_HEAD_BYTES: Final = 8 << 10
"""Bytes of the names and values of one part's headers."""


class WholeForm(MultiPartParser):
    """Starlette's parser, which takes a body that ends anywhere for a whole one and keeps headers of any size."""

    _ended = False
    _head_bytes = 0

    def on_part_begin(self) -> None:
        """A part begins."""
        self._head_bytes = 0
        super().on_part_begin()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """More of a header's name."""
        self._count(end - start)
        super().on_header_field(data, start, end)

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """More of a header's value."""
        self._count(end - start)
        super().on_header_value(data, start, end)

    def on_end(self) -> None:
        """The closing boundary was found."""
        self._ended = True
        super().on_end()

    async def parse(self) -> FormData:
        """The form.

        Raises:
            MultiPartException: it is broken, too large, or ends before its closing boundary.
            LookupError, UnicodeError: text that is not in the character set that is stated.
        """
        form = await super().parse()
        if not self._ended:
            await form.close()
            raise MultiPartException("it ends before its closing boundary")
        return form

    def _count(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > MAX_HEAD_BYTES:
            raise MultiPartException(f"the headers of a part have more than {MAX_HEAD_BYTES} bytes")
