"""Finding the joints of a human by the shape of the tree, where their names say nothing.

A human forks twice: where two limbs of equal length part there are the hips, and further up, where two others and the
head part, the shoulders. Thigh and shank, and upper arm and forearm, are the two longest bones in a row of their limb.
Which side is left follows from the facing: from toes and knees, which point forward.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.formats.bvh_parser import Bvh, position_chunks
from choreo.motion.formats.joint_names import Side

Array = NDArray[np.float64]

LIMB: Final = 0.25
"""A branch that reaches at least this share of the longest way from the root is a limb, the trunk or the head; fingers
and faces reach less."""
UNEQUAL: Final = 0.15
"""Largest difference in reach between two sides, as a share of it."""
COINCIDENT: Final = 0.01
"""Joints that are closer than this share of the longest way from the root are one."""
SHOULDERS: Final = 0.5
"""Least distance of the shoulders from one another, as a share of the thigh."""
MAX_SAMPLED: Final = 100
"""Frames that the facing is taken from."""


@dataclass(frozen=True)
class ShapedJoints:
    """Joints by their place: names of SMPL-22, and `left_collar` and `right_collar` where the arms begin with one.

    Attributes:
        index: SMPL name to joint; neck and toes may be missing.
        sides_known: whether names or facing tell left from right; if not, it is guessed.
    """

    index: dict[str, int]
    sides_known: bool


def joints_by_shape(bvh: Bvh, side_of: Callable[[Sequence[int]], Side | None]) -> ShapedJoints | None:
    """Joints of a human of any names; None if the tree is not that of one.

    Args:
        bvh: one skeleton.
        side_of: the side of some joints as far as names say it.
    """
    tree = _Tree(bvh)
    pairs = tree.limb_pairs()
    if len(pairs) < 2:
        return None
    legs, arms = _legs_and_arms(tree, pairs)
    if legs is None or arms is None:
        return None
    chains = [tree.chain(limb) for limb in (*legs.limbs, *arms.limbs)]
    if min(map(len, chains)) < 3:
        return None
    p = _sampled(bvh)
    starts = [_two_longest(chain, tree.length) for chain in chains[:2]]
    thigh = max(tree.length[chain[start + 1]] for chain, start in zip(chains, starts, strict=False))
    inner = _between_shoulders(p, chains[2], chains[3], SHOULDERS * float(thigh))
    starts += [_two_longest(chain, tree.length, inner) for chain in chains[2:]]
    found: dict[str, int] = {"pelvis": legs.fork}
    _add_head(found, tree, arms)
    left_leg, left_arm, known = _sides(p, chains, starts, side_of, legs.fork, arms.fork)
    for limb, (chain, start) in enumerate(zip(chains, starts, strict=True)):
        is_left = (limb == left_leg) if limb < 2 else (limb - 2 == left_arm)
        _add_limb(found, "left" if is_left else "right", chain, start, is_leg=limb < 2)
    return ShapedJoints(found, known)


@dataclass(frozen=True)
class _Pair:
    fork: int
    limbs: tuple[int, int]


class _Tree:
    """Children, lengths and reaches of a skeleton's joints."""

    def __init__(self, bvh: Bvh) -> None:
        self.parents = bvh.parents
        self.children: list[list[int]] = [[] for _ in bvh.names]
        for joint, parent in enumerate(bvh.parents):
            if parent >= 0:
                self.children[parent].append(joint)
        self.is_end = [not kids and not channels for kids, channels in zip(self.children, bvh.channels, strict=True)]
        self.length = np.linalg.norm(bvh.offsets, axis=1)
        wrapper: int | None = 0  # what only carries the human may be far away from it
        while wrapper is not None:
            self.length[wrapper] = 0
            wrapper = self.children[wrapper][0] if len(self.children[wrapper]) == 1 else None
        self.reach = self.length.copy()
        for joint in reversed(range(len(bvh.parents))):
            if self.children[joint]:
                self.reach[joint] += max(self.reach[child] for child in self.children[joint])
        self.scale = float(self.reach.max())

    def big(self, joint: int) -> list[int]:
        """Children whose branches are limbs, the trunk or the head."""
        return [child for child in self.children[joint] if self.reach[child] >= LIMB * self.scale]

    def limb_pairs(self) -> list[_Pair]:
        """The forks with two limbs of equal reach, and those limbs: the most alike of each fork."""
        if self.scale <= 0:
            return []
        big = [self.big(joint) for joint in range(len(self.parents))]
        forked = [len(kids) >= 2 for kids in big]
        for joint in reversed(range(1, len(self.parents))):  # a branch with a fork in it is no limb
            if forked[joint] and self.parents[joint] >= 0:
                forked[self.parents[joint]] = True
        pairs = []
        for fork, kids in enumerate(big):
            limbs = [kid for kid in kids if not forked[kid]]
            alike = [
                (abs(self.reach[a] - self.reach[b]) / max(self.reach[a], self.reach[b]), -self.reach[a], a, b)
                for i, a in enumerate(limbs)
                for b in limbs[i + 1 :]
            ]
            if alike and min(alike)[0] <= UNEQUAL:
                pairs.append(_Pair(fork, min(alike)[2:]))
        return pairs

    def chain(self, joint: int) -> list[int]:
        """The longest way down from a joint, with joints at one place as one."""
        out = [joint]
        while kids := self.children[out[-1]]:
            out.append(max(kids, key=lambda kid: self.reach[kid]))
        return [joint, *(below for below in out[1:] if self.length[below] > COINCIDENT * self.scale)]

    def above(self, joint: int) -> list[int]:
        """Ancestors, nearest first."""
        out = []
        while (joint := self.parents[joint]) >= 0:
            out.append(joint)
        return out


def _legs_and_arms(tree: _Tree, pairs: list[_Pair]) -> tuple[_Pair | None, _Pair | None]:
    """The legs part at an ancestor of where the arms do; beside one another, the arms have the head between them."""
    for legs in pairs:
        below = [pair for pair in pairs if legs.fork in tree.above(pair.fork)]
        if below:
            return legs, min(below, key=lambda pair: len(tree.above(pair.fork)))
    with_head = [pair for pair in pairs if _between(tree, pair) is not None]
    without = [pair for pair in pairs if pair not in with_head]
    return (without[0], with_head[0]) if without and with_head else (None, None)


def _between(tree: _Tree, pair: _Pair) -> int | None:
    """The longest other branch of a fork, which at the shoulders is that of the head."""
    others = [kid for kid in tree.children[pair.fork] if kid not in pair.limbs and not tree.is_end[kid]]
    return max(others, key=lambda kid: tree.reach[kid], default=None)


def _two_longest(chain: list[int], length: Array, first: int = 0) -> int:
    """Where in a limb of three joints or more its two longest consecutive bones begin, from joint `first` on."""
    bones = length[chain[1:]]
    shorter = np.minimum(bones[:-1], bones[1:])
    first = min(first, len(shorter) - 1)
    return first + int(shorter[first:].argmax())


def _between_shoulders(p: Array, left: list[int], right: list[int], apart: float) -> int:
    """How many joints at the beginning of both arms are closer to one another than shoulders can be."""
    pairs = zip(left, right, strict=False)
    near = [float(np.linalg.norm(p[:, a] - p[:, b], axis=1).mean()) < apart for a, b in pairs]
    return near.index(False) if False in near else 0


def _add_head(found: dict[str, int], tree: _Tree, arms: _Pair) -> None:
    first = _between(tree, arms)
    if first is None:
        return
    chain = tree.chain(first)
    joints = [joint for joint in chain if not tree.is_end[joint]]
    if len(joints) >= 3 and tree.length[joints[-1]] > tree.reach[joints[-1]] / 2:
        joints.pop()  # the top of the head as a joint: little is above it
    found["head"] = joints[-1]
    if len(joints) >= 2:
        found["neck"] = joints[-2]


def _add_limb(found: dict[str, int], side: Side, chain: list[int], start: int, *, is_leg: bool) -> None:
    names = ("hip", "knee", "ankle") if is_leg else ("shoulder", "elbow", "wrist")
    found |= {f"{side}_{name}": chain[start + i] for i, name in enumerate(names)}
    if is_leg and len(chain) > start + 3:
        found[f"{side}_foot"] = chain[start + 3]
    if not is_leg and start >= 1:
        found[f"{side}_collar"] = chain[start - 1]


def _sides(
    p: Array,
    chains: list[list[int]],
    starts: list[int],
    side_of: Callable[[Sequence[int]], Side | None],
    pelvis: int,
    chest: int,
) -> tuple[int, int, bool]:
    """Which of the two legs and of the two arms is the left one, and whether that is known."""
    hips, shoulders = (p[:, [chains[i][starts[i]] for i in pair]] for pair in ((0, 1), (2, 3)))
    across = hips[:, 0] - hips[:, 1]
    same = float((across * (shoulders[:, 0] - shoulders[:, 1])).sum()) >= 0
    named = [side_of(chain) for chain in chains]
    left_leg, known = 0, True
    if {"left", "right"} == set(named[:2]):
        left_leg = named[:2].index("left")
    else:
        vote = _facing_vote(p, chains[:2], starts[:2], across, p[:, chest] - p[:, pelvis])
        left_leg, known = (0 if vote >= 0 else 1), abs(vote) > COINCIDENT
    if {"left", "right"} == set(named[2:]):
        return left_leg, named[2:].index("left"), known
    return left_leg, (left_leg if same else 1 - left_leg), known


def _facing_vote(p: Array, legs: list[list[int]], starts: list[int], across: Array, trunk: Array) -> float:
    """Positive if `across` points to the left: up x forward is left, and toes and knees are in front."""
    forward = np.zeros_like(across)
    for chain, start in zip(legs, starts, strict=True):
        hip, knee, ankle = (p[:, chain[start + i]] for i in range(3))
        forward += knee - (hip + ankle) / 2
        if len(chain) > start + 3:
            forward += p[:, chain[-1]] - ankle
    size = np.linalg.norm(across, axis=1) * np.linalg.norm(trunk, axis=1) * np.linalg.norm(trunk, axis=1)
    return float(((np.cross(trunk, forward) * across).sum(axis=1) / np.maximum(size, 1e-12)).mean())


def _sampled(bvh: Bvh) -> Array:
    """Positions (n, J, 3) of frames that are spread over the motion."""
    frames = np.unique(np.linspace(0, len(bvh.frames) - 1, MAX_SAMPLED).astype(int))
    return np.concatenate(list(position_chunks(replace(bvh, frames=bvh.frames[frames]))))
