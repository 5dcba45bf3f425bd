"""Rows of conditioners that were computed before: songs repeat in catalogs, and prompts in campaigns."""

from choreo.generators.base import Row
from serving.util.bounded_cache import BoundedCache


class ContextCache(BoundedCache[bytes, Row]):
    """The latest rows, by a hash of everything that they are computed from (`choreo.generators.base.RowCache`)."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes, lambda row: sum(values.nbytes for values in row.values()))
