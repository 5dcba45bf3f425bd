"""Training, validation and test splits of a data set, by song or take and never by window."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from choreo.errors import InvalidInput

SHARES: Final = MappingProxyType({"train": 0.8, "val": 0.1, "test": 0.1})
"""Expected shares of the groups where a data set publishes no split."""


@dataclass(frozen=True)
class Split:
    """Which recordings are for training, validation and tests.

    Attributes:
        parts: name (`train`, `val`, `test`) to keys, in the data set's order.
        origin: `published` or `hash`. A published split may leave out recordings so that its parts share nothing.
    """

    parts: Mapping[str, tuple[str, ...]]
    origin: str


def published_split(parts: Mapping[str, tuple[str, ...]], groups: Mapping[str, str]) -> Split:
    """A data set's own split, restricted to the recordings that exist.

    Args:
        parts: keys by part.
        groups: group by key, of every recording.

    Raises:
        InvalidInput: a part is empty, or a recording is in two.
    """
    kept = {part: tuple(key for key in keys if key in groups) for part, keys in parts.items()}
    seen: dict[str, str] = {}
    for part, keys in kept.items():
        for key in keys:
            if seen.setdefault(key, part) != part:
                raise InvalidInput("split", f"{key} is listed for {seen[key]} and for {part}")
    return _checked(Split(MappingProxyType(kept), "published"))


def hashed_split(groups: Mapping[str, str], shares: Mapping[str, float] = SHARES, seed: int = 0) -> Split:
    """A split by a hash of each group, so that a group stays where it is when others are added or removed.

    Args:
        groups: group by key, of every recording.
        shares: expected share of groups by part.
        seed: another one gives another split.

    Raises:
        InvalidInput: shares that are not positive, or a part that comes out empty.
    """
    if not shares or not all(0 < share < float("inf") for share in shares.values()):
        raise InvalidInput("shares", "must be a positive number for every part")
    total = sum(shares.values())
    kept: dict[str, list[str]] = {part: [] for part in shares}
    for key, group in groups.items():
        digest = hashlib.sha256(f"{seed}\0{group}".encode("utf-8", "surrogateescape")).digest()
        left = int.from_bytes(digest[:8], "big") / 2**64 * total
        for part, share in shares.items():
            chosen, left = part, left - share
            if left < 0:
                break
        kept[chosen].append(key)
    return _checked(Split(MappingProxyType({part: tuple(keys) for part, keys in kept.items()}), "hash"))


def shared_groups(split: Split, groups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Groups that are in more than one part, with those parts; a sound split has none.

    Args:
        split: to check.
        groups: group by key; keys that are not in it are ignored.
    """
    found: dict[str, dict[str, None]] = {}
    for part, keys in split.parts.items():
        for key in keys:
            if key in groups:
                found.setdefault(groups[key], {})[part] = None
    return {group: tuple(parts) for group, parts in found.items() if len(parts) > 1}


def _checked(split: Split) -> Split:
    empty = [part for part, keys in split.parts.items() if not keys]
    if empty:
        raise InvalidInput(
            "split", f"{empty[0]!r} is empty: add recordings of other songs or takes, or use another seed"
        )
    return split
