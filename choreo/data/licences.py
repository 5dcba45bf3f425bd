"""Terms of training material, by tag, and what of it may train weights that are shipped.

A tag that is not listed here counts as not cleared: nothing is allowed by default.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from choreo.data.clip import Clip
from choreo.motion.skeleton import FPS

CMU: Final = "cmu-mocap"
ANIMATED_DRAWINGS: Final = "animated-drawings-mit"
TANG: Final = "tang-unstated"
OWN: Final = "choreo-synthetic"
CC0: Final = "CC0-1.0"
CC_BY: Final = "cc-by-4.0"
KIT: Final = "kit-unstated"
BABEL: Final = "babel-non-commercial"


class Licences(StrEnum):
    """Which material a run learns from: all of it, or what is cleared for weights that are shipped."""

    ALL = "all"
    CLEARED = "cleared"


@dataclass(frozen=True)
class Terms:
    """What is known of a tag.

    Attributes:
        origin: where the material is from.
        licence: what its authors allow, in a sentence.
        cleared: whether it may train weights that are shipped.
    """

    origin: str
    licence: str
    cleared: bool


TERMS: Final[Mapping[str, Terms]] = MappingProxyType({
    CMU: Terms(
        "CMU Graphics Lab Motion Capture Database, mocap.cs.cmu.edu (created with funding from NSF EIA-0196217)",
        "free for use in research and in commercially sold products; the data may not be resold",
        True,
    ),
    ANIMATED_DRAWINGS: Terms("AnimatedDrawings, Meta Platforms", "MIT", True),
    OWN: Terms("dances by this project's choreographer, to songs by its synthesiser", "Apache-2.0, this project", True),
    CC0: Terms("texts and songs in the public domain", "CC0 1.0", True),
    CC_BY: Terms("recordings under Creative Commons Attribution 4.0", "CC BY 4.0: its credit travels along", True),
    TANG: Terms("Tang et al. 2018, Dance with Melody", "the authors' repository states no licence", False),
    KIT: Terms("KIT Motion-Language captions", "no licence stated", False),
    BABEL: Terms("BABEL captions", "non-commercial research", False),
})  # fmt: skip
UNKNOWN: Final = Terms("unknown", "not known to allow anything", False)


def terms(tag: str) -> Terms:
    """The terms of a tag; `UNKNOWN` where it is not listed."""
    return TERMS.get(tag, UNKNOWN)


def is_cleared(tag: str) -> bool:
    """Whether material of this tag may train weights that are shipped."""
    return terms(tag).cleared


def licensed(clips: Sequence[Clip], licences: Licences | str) -> list[Clip]:
    """The clips that a run may learn from; of cleared ones only the captions that are cleared too."""
    if Licences(licences) is Licences.ALL:
        return list(clips)
    return [
        replace(clip, captions=tuple(c for c in clip.captions if is_cleared(c.licence or clip.licence)))
        for clip in clips
        if is_cleared(clip.licence)
    ]


def inventory(clips: Iterable[Clip]) -> list[dict[str, Any]]:
    """What clips are made of: a row per tag with origin, licence, whether it is cleared, minutes and captions."""
    minutes: dict[str, float] = defaultdict(float)
    captions: dict[str, int] = defaultdict(int)
    for clip in clips:
        minutes[clip.licence] += clip.num_frames / FPS / 60
        for caption in clip.captions:
            captions[caption.licence or clip.licence] += 1
    return [
        {
            "tag": tag, "origin": terms(tag).origin, "licence": terms(tag).licence, "cleared": is_cleared(tag),
            "minutes": round(minutes[tag], 1) if tag in minutes else 0.0, "captions": captions.get(tag, 0),
        }
        for tag in sorted({*minutes, *captions})
    ]  # fmt: skip


def card(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `inventory` as a Markdown table for a model card."""
    lines = ["| material | licence | may train shipped weights | minutes | captions |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['origin']} | {row['licence']} | {'yes' if row['cleared'] else '**no**'} | {row['minutes']:g} | "
        f"{row['captions']} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"
