"""Figures in sequence, and where on the floor each footfall lands."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.synthetic.choreography import LEFT, RIGHT
from choreo.data.synthetic.step_dances.figures import Direction, Figure, Footfall, Role, StepDance

Array = NDArray[np.float64]

RADIUS: Final = 2.4
"""Figures that would end farther from the start are avoided, metres."""
FREE: Final = 1.2
"""Figures that would end nearer than this need not be steered, metres."""
STEERING: Final = (0.0, 30.0, -30.0, 60.0, -60.0)
"""Further turns of a figure that are tried, degrees."""
HALF_WIDTH: Final = 0.085
"""Sideways distance of a closed foot from the middle of the body, metres."""
AHEAD: Final = 0.05
"""How far the balls of the feet are in front of the middle of the body, metres."""
PIVOT: Final = np.radians(35.0)
"""A standing foot pivots where the body turns away from it by more."""
_ACROSS: Final = 0.05
"""How far a crossing foot goes to the other side of the middle, metres."""
_CROSSING: Final = 0.13
"""Distance of a crossing foot in front of the other or behind it, metres."""
_WAYS: Final[dict[Direction, tuple[float, float]]] = {
    "forward": (0.0, 1.0), "back": (0.0, -1.0), "side": (1.0, 0.0), "diagonal": (0.75, 0.66),
}  # fmt: skip
"""To the foot's own side, and forwards."""


@dataclass(frozen=True)
class Placed:
    """A footfall on the floor.

    Attributes:
        beat: of the song on which the foot arrives.
        of: the footfall, as it is danced by the role.
        ball: (2,) x and z of the ball of the foot, metres.
        centre: (2,) of the body with the weight on this foot, between the places of both feet.
        heading: of the body then, radians, to the left.
    """

    beat: float
    of: Footfall
    ball: Array
    centre: Array
    heading: float


@dataclass(frozen=True)
class Section:
    """A figure of the sequence: its name, first beat and length in beats."""

    name: str
    beat: float
    beats: int


@dataclass(frozen=True)
class _Stance:
    """Where the dancer stands: balls of both feet (2, 2), the foot with the weight, heading."""

    balls: Array
    foot: int
    heading: float

    @property
    def centre(self) -> Array:
        return self.balls[self.foot] - _turned(self.heading, _home(self.foot))


def start(foot: int) -> _Stance:
    """Feet closed at the origin, facing +z, with the weight on `foot`."""
    return _Stance(np.stack([_home(LEFT), _home(RIGHT)]), foot, 0.0)


def plan(dance: StepDance, beats: float, step: float, role: Role, rng: np.random.Generator) -> tuple[
    list[Placed], list[Section]
]:  # fmt: skip
    """A sequence of figures that fills `beats` and stays within a few metres.

    Args:
        dance: whose figures.
        beats: at least so many are filled.
        step: length of a step, metres.
        role: whose part.
        rng: chooses the figures.
    """
    names = sorted(dance.figures)
    first = dance.figures[names[int(rng.integers(len(names)))]].begins_on(role)
    stance, beat = start(LEFT + RIGHT - first), 0.0
    placed: list[Placed] = []
    sections: list[Section] = []
    free = first
    while beat < beats:
        fitting = [name for name in names if dance.figures[name].begins_on(role) == free]
        name, (footfalls, stance) = _choose(dance, fitting, stance, step, role, rng, sections)
        placed += [replace(each, beat=each.beat + beat) for each in footfalls]
        sections.append(Section(name, beat, dance.figures[name].beats))
        beat += dance.figures[name].beats
        free = LEFT + RIGHT - stance.foot
    return placed, sections


def _choose(
    dance: StepDance, names: Sequence[str], stance: _Stance, step: float, role: Role, rng: np.random.Generator,
    danced: Sequence[Section],
) -> tuple[str, tuple[list[Placed], _Stance]]:  # fmt: skip
    """The first figure, in an order drawn by their shares, that can be steered to stay near; else the nearest.

    A figure that was danced twice in a row waits, where there is another.
    """
    last = [section.name for section in danced[-2:]]
    shares = np.array([dance.figures[n].share * (0.02 if last.count(n) > 1 else 1.0) for n in names])
    order = rng.choice(len(names), len(names), replace=False, p=shares / shares.sum())
    ends: list[tuple[float, str, tuple[list[Placed], _Stance]]] = []
    for name in (names[i] for i in order):
        steered = _steered(dance.figures[name], stance, step, role)
        away = float(np.linalg.norm(steered[1].centre))
        if away < RADIUS:
            return name, steered
        ends.append((away, name, steered))
    _, name, steered = min(ends, key=lambda end: end[0])
    return name, steered


def _steered(figure: Figure, stance: _Stance, step: float, role: Role) -> tuple[list[Placed], _Stance]:
    """The figure, turned by a little more or less so that it leads back where dancing it twice would lead away."""
    found = []
    for steer in STEERING:
        once = place(figure, stance, step, role, steer)
        twice = place(figure, once[1], step, role, steer)
        away = float(np.linalg.norm(twice[1].centre))
        if away < FREE:
            return once
        found.append((away, once))
    return min(found, key=lambda end: end[0])[1]


def place(figure: Figure, stance: _Stance, step: float, role: Role, steer: float = 0.0) -> tuple[list[Placed], _Stance]:
    """The footfalls of a figure from a stance, with beats from its start, and the stance afterwards.

    Args:
        figure: of the table.
        stance: before it.
        step: length of a step, metres.
        role: whose part.
        steer: further turn, degrees, over all its footfalls.
    """
    out = []
    for footfall in figure.footfalls:
        own = footfall if role == "lead" else footfall.followed()
        heading = stance.heading + np.radians(own.turn + steer / len(figure.footfalls))
        balls = stance.balls.copy()
        balls[own.foot] = _goal(own, stance, heading, step)
        stance = _Stance(balls, own.foot if own.weight else stance.foot, heading)
        out.append(Placed(own.count - 1, own, balls[own.foot], stance.centre, heading))
    return out, stance


def _goal(footfall: Footfall, stance: _Stance, heading: float, step: float) -> Array:
    """x and z of the ball of the foot after a footfall."""
    foot, side = footfall.foot, _side(footfall.foot)
    if footfall.direction == "replace":
        return stance.balls[foot]
    centre = stance.balls[stance.foot] - _turned(heading, _home(stance.foot))
    if footfall.direction in ("across", "behind"):
        way = 1.0 if footfall.direction == "across" else -1.0
        return centre + _turned(heading, np.array([-side * _ACROSS, AHEAD + way * _CROSSING * footfall.length]))
    if footfall.direction == "close":
        return centre + _turned(heading, _home(foot))
    aside, ahead = _WAYS[footfall.direction]
    moved = _turned(0.5 * (heading + stance.heading), step * footfall.length * np.array([side * aside, ahead]))
    return centre + moved + _turned(heading, _home(foot))


def _home(foot: int) -> Array:
    """Of the ball of a closed foot from the middle of the body."""
    return np.array([_side(foot) * HALF_WIDTH, AHEAD])


def _side(foot: int) -> float:
    return 1.0 if foot == LEFT else -1.0


def _turned(yaw: float, v: Array) -> Array:
    """x and z turned to the left by a yaw."""
    sin, cos = np.sin(yaw), np.cos(yaw)
    return np.array([cos * v[0] + sin * v[1], -sin * v[0] + cos * v[1]])
