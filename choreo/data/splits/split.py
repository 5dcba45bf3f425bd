"""Training, validation and test sides of a data set, by song and take and never by window."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from choreo.errors import InvalidInput

SHARES: Final = MappingProxyType({"train": 0.8, "val": 0.1, "test": 0.1})
"""Expected shares of the groups where a data set has no split of its own."""


@dataclass(frozen=True)
class Split:
    """Recordings by side.

    Attributes:
        sides: name to keys, in the data set's order.
        origin: `published` or `hash`.
        unused: keys on no side; a published split may leave some out so that its sides share nothing.
    """

    sides: Mapping[str, tuple[str, ...]]
    origin: str
    unused: tuple[str, ...] = ()

    def side_of(self, key: str) -> str | None:
        """Side of a recording; None where it is on none."""
        return next((side for side, keys in self.sides.items() if key in keys), None)


def published_split(sides: Mapping[str, tuple[str, ...]], groups: Mapping[str, str]) -> Split:
    """A data set's own split, restricted to the recordings that there are.

    Args:
        sides: keys by side.
        groups: group by key, of every recording.

    Raises:
        InvalidInput: a side is empty, or a recording is on two.
    """
    kept = {side: tuple(key for key in keys if key in groups) for side, keys in sides.items()}
    seen: dict[str, str] = {}
    for side, keys in kept.items():
        for key in keys:
            if seen.setdefault(key, side) != side:
                raise InvalidInput("split", f"{key} is listed for {seen[key]} and for {side}")
    return _checked(Split(MappingProxyType(kept), "published", tuple(key for key in groups if key not in seen)))


def hashed_split(groups: Mapping[str, str], shares: Mapping[str, float] = SHARES, seed: int = 0) -> Split:
    """Sides by a hash of each group, so that a group never changes sides when others come or go.

    Args:
        groups: group by key, of every recording.
        shares: expected share of groups by side.
        seed: another one gives another split.

    Raises:
        InvalidInput: shares that are not positive, or a side that comes out empty.
    """
    if not shares or not all(0 < share < float("inf") for share in shares.values()):
        raise InvalidInput("shares", "must be a positive number for every side")
    total = sum(shares.values())
    kept: dict[str, list[str]] = {side: [] for side in shares}
    for key, group in groups.items():
        digest = hashlib.sha256(f"{seed}\0{group}".encode("utf-8", "surrogateescape")).digest()
        left = int.from_bytes(digest[:8], "big") / 2**64 * total
        for side, share in shares.items():
            chosen, left = side, left - share
            if left < 0:
                break
        kept[chosen].append(key)
    return _checked(Split(MappingProxyType({side: tuple(keys) for side, keys in kept.items()}), "hash"))


def shared_groups(split: Split, groups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Groups that lie on more than one side, with those sides; none in a split that keeps its promise.

    Args:
        split: sides by key.
        groups: group by key; keys that are not in it are not looked at.
    """
    found: dict[str, dict[str, None]] = {}
    for side, keys in split.sides.items():
        for key in keys:
            if key in groups:
                found.setdefault(groups[key], {})[side] = None
    return {group: tuple(sides) for group, sides in found.items() if len(sides) > 1}


def _checked(split: Split) -> Split:
    empty = [side for side, keys in split.sides.items() if not keys]
    if empty:
        raise InvalidInput(
            "split", f"the side {empty[0]!r} is empty: add recordings of other songs or takes, or take another seed"
        )
    return split
