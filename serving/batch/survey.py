"""The first reading of a catalog: how many items it has, and whether it can be used at all."""

from array import array
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np

from choreo.errors import InvalidInput
from serving.batch.catalog import CATALOG, Catalog, at_line

HASH_BYTES: Final = 8
"""Of an id; two different ids with one hash are distinguished by reading them again."""
MAX_NAMES: Final = 1000
MAX_NAME_CHARS: Final = 64
"""Of generators: no server has so many, and no generator a longer one."""


@dataclass(frozen=True)
class Survey:
    """What is known of a catalog before work starts.

    Attributes:
        items: how many there are.
        digest: hash of everything in it.
        models: names of generators that rows have; of a catalog that has thousands, some.
    """

    items: int
    digest: str
    models: frozenset[str] = frozenset()


def survey(catalog: Catalog) -> Survey:
    """Read the whole catalog. It takes eight bytes of memory an item.

    Raises:
        InvalidInput: a line is broken, two items have one id, or there are no items.
        OSError: it cannot be read.
    """
    hashes, models = array("Q"), set[str]()
    for row in catalog.rows():
        hashes.append(_hash(row.custom_id))
        name = row.body.get("model")
        if isinstance(name, str) and len(name) <= MAX_NAME_CHARS and len(models) < MAX_NAMES:
            models.add(name)
    if not hashes:
        raise InvalidInput(CATALOG, "has no items")
    ordered = np.frombuffer(hashes, np.uint64)  # sorted in place
    ordered.sort()
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        _refuse_duplicate(catalog, set(twice.tolist()))
    return Survey(len(hashes), catalog.digest(), frozenset(models))


def _hash(custom_id: str) -> int:
    return int.from_bytes(blake2b(custom_id.encode(), digest_size=HASH_BYTES).digest(), "little")


def _refuse_duplicate(catalog: Catalog, hashes: set[int]) -> None:
    """Raise for the first id that comes twice; ids that only share a hash are no duplicates."""
    seen: dict[str, int] = {}
    for row in catalog.rows():
        if _hash(row.custom_id) not in hashes:
            continue
        if row.custom_id in seen:
            message = f"{row.custom_id[:64]!r} is the id of line {seen[row.custom_id]} as well; ids must differ"
            raise InvalidInput(at_line(row.line, "custom_id"), message)
        seen[row.custom_id] = row.line
