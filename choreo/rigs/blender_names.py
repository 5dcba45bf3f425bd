"""Names of Blender's own rigs that say nothing in other rigs.

In a metarig, pelvis, spine, neck and head are `spine`, `spine.001` to `spine.006`. A rig that Rigify made of it has
bones of several kinds: `DEF-` move the mesh, `ORG-` carry them, `MCH-` and all others steer. If all are in a file, the
DEF bones hang on the ORG ones, which then are the body; if only DEF bones are, they are it.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

_SPINE: Final = re.compile(r"(DEF-|ORG-)?spine(\.\d+)?")
_FEWEST: Final = 5
"""Joints called so, from pelvis to head, of which the last is the head."""


def readings(names: Sequence[str], parents: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """The names as they may be meant, likeliest first; those of joints that are not the body are empty of sense."""
    for kind in ("", "DEF-", "ORG-") if any(name.startswith(("ORG-", "MCH-")) for name in names) else ("",):
        kept = [name if name.startswith(kind) else "-" for name in names]
        yield tuple(_with_head(kept, parents))


def _with_head(names: list[str], parents: Sequence[int]) -> list[str]:
    """The names with `head` for the last joint of a long chain of spine joints, where none is called so."""
    spines = {joint for joint, name in enumerate(names) if _SPINE.fullmatch(name)}
    above: dict[int, int] = {}
    for joint, parent in enumerate(parents):
        before = above.get(parent, 0) if parent >= 0 else 0
        above[joint] = before + (joint in spines)
    last = max(spines, key=lambda joint: above[joint], default=None)
    if last is not None and above[last] >= _FEWEST and not any("head" in re.split(r"\W|_", n.lower()) for n in names):
        names[last] = "head"
    return names
