"""Rows of conditioners that were computed before: songs repeat in catalogs, and prompts in campaigns."""

from dataclasses import dataclass

from choreo.generators.base import Row
from serving.util.bounded_cache import BoundedCache


class ContextCache(BoundedCache[bytes, Row]):
    """The latest rows, by a hash of everything that they are computed from (`choreo.generators.base.RowCache`)."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes, lambda row: sum(values.nbytes for values in row.values()))

    def revision(self, number: int) -> "RevisionRows":
        """The rows that the models of a revision have made: weights may change, and names stay."""
        return RevisionRows(self, number)


@dataclass(frozen=True)
class RevisionRows:
    """A `choreo.generators.base.RowCache` within another one."""

    cache: ContextCache
    number: int

    def get(self, key: bytes) -> Row | None:
        """The row, or None."""
        return self.cache.get(self._key(key))

    def put(self, key: bytes, value: Row) -> None:
        """Keep a row, which is not written to any more."""
        self.cache.put(self._key(key), value)

    def _key(self, key: bytes) -> bytes:
        return b"%d %b" % (self.number, key)
