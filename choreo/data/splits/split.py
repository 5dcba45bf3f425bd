"""Training, validation and test splits of a data set, by song or take and never by window.

A data set of two takes or more never has an empty side to train or to validate on: an empty part gets the take whose
hash lies nearest to it. A data set of one take is cut in time (`choreo.data.splits.one_take`).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from choreo.errors import InvalidInput

TRAINING, HELD_OUT, TEST = "train", "val", "test"
"""Parts; a training reads the first two and leaves the one for tests alone."""
SHARES: Final = MappingProxyType({TRAINING: 0.8, HELD_OUT: 0.1, TEST: 0.1})
"""Expected shares of the groups where a data set publishes no split. Where there are fewer groups than parts, the last
parts stay empty."""


@dataclass(frozen=True)
class Split:
    """Which recordings are for training, validation and tests.

    Attributes:
        parts: name (`train`, `val`, `test`) to keys, in the data set's order.
        origin: `published`, `hash`, or `cut`: the recordings are of one song or take, and both parts have another
            stretch of each. A published split may leave out recordings so that its parts share nothing.
    """

    parts: Mapping[str, tuple[str, ...]]
    origin: str

    @property
    def cut(self) -> bool:
        """Whether the parts hold stretches of the same recordings."""
        return self.origin == "cut"


def published_split(parts: Mapping[str, tuple[str, ...]], groups: Mapping[str, str]) -> Split:
    """A data set's own split, restricted to the recordings that exist.

    An excerpt of a data set may have nothing of the training or of the validation part. The recordings of these two are
    then divided anew, by hash; those for tests are not touched.

    Args:
        parts: keys by part.
        groups: group by key, of every recording.

    Raises:
        InvalidInput: a recording is in two parts, or there is none to train on or to validate on.
    """
    kept = {part: tuple(key for key in keys if key in groups) for part, keys in parts.items()}
    seen: dict[str, str] = {}
    for part, keys in kept.items():
        for key in keys:
            if seen.setdefault(key, part) != part:
                raise InvalidInput("split", f"{key} is listed for {seen[key]} and for {part}")
    if kept.get(TRAINING) and kept.get(HELD_OUT):
        return Split(MappingProxyType(kept), "published")
    left = {key: group for key, group in groups.items() if seen.get(key) in (TRAINING, HELD_OUT)}
    if not left:
        raise InvalidInput(
            "split", f"lists no recording of this folder for {TRAINING} or {HELD_OUT}: add one, or remove the lists"
        )
    anew = hashed_split(left, {part: SHARES[part] for part in (TRAINING, HELD_OUT)})
    return Split(MappingProxyType({**kept, **anew.parts}), anew.origin)


def hashed_split(groups: Mapping[str, str], shares: Mapping[str, float] = SHARES, seed: int = 0) -> Split:
    """A split by a hash of each group, so that a group stays where it is when others are added or removed.

    Only groups that fill a part which would be empty move. One group alone is in the first two parts, to be cut.

    Args:
        groups: group by key, of every recording.
        shares: expected share of groups by part.
        seed: another one gives another split.

    Raises:
        InvalidInput: shares that are not positive, or no recording.
    """
    if not shares or not all(0 < share < float("inf") for share in shares.values()):
        raise InvalidInput("shares", "must be a positive number for every part")
    if not groups:
        raise InvalidInput("split", "there is no recording to divide")
    places = {group: _place(group, seed) for group in sorted(set(groups.values()))}
    if len(places) == 1 and len(shares) > 1:
        parts = {part: tuple(groups) if i < 2 else () for i, part in enumerate(shares)}
        return Split(MappingProxyType(parts), "cut")
    part_of = _parts_of(places, shares)
    return Split(
        MappingProxyType({part: tuple(k for k, group in groups.items() if part_of[group] == part) for part in shares}),
        "hash",
    )


def shared_groups(split: Split, groups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Groups that are in more than one part, with those parts; a sound split has none.

    Parts of a split that is cut in time have no frame in common, so none of its groups count.

    Args:
        split: to check.
        groups: group by key; keys that are not in it are ignored.
    """
    found: dict[str, dict[str, None]] = {}
    for part, keys in split.parts.items():
        for key in keys:
            if key in groups and not split.cut:
                found.setdefault(groups[key], {})[part] = None
    return {group: tuple(parts) for group, parts in found.items() if len(parts) > 1}


def _place(group: str, seed: int) -> float:
    """A number in [0, 1) that depends on the group's name alone."""
    digest = hashlib.sha256(f"{seed}\0{group}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _parts_of(places: Mapping[str, float], shares: Mapping[str, float]) -> dict[str, str]:
    """Part of each group: the range of shares that its place is in, unless it fills a part that would be empty."""
    total, start = sum(shares.values()), 0.0
    ranges: dict[str, tuple[float, float]] = {}
    for part, share in shares.items():
        ranges[part] = (start, start := start + share / total)
    last = next(reversed(ranges))
    part_of = {
        group: next((part for part, (_, end) in ranges.items() if place < end), last) for group, place in places.items()
    }
    needed = list(shares)[: len(places)]
    for part in needed:
        members = list(part_of.values())
        if part in members:
            continue
        low, high = ranges[part]
        # From a part that need not have any, or from the largest: where one is empty, another has two.
        giver = next((p for p in members if p not in needed), max(needed, key=members.count))
        nearest = min(
            (group for group, its in part_of.items() if its == giver),
            key=lambda group: max(low - places[group], places[group] - high),
        )
        part_of[nearest] = part
    return part_of
