"""What the tables of the dances are made of: footfalls, figures, and the character of a dance.

Tables are for the leader. The follower dances the same figure on the other foot and in the opposite direction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from choreo.data.synthetic.choreography import LEFT, RIGHT
from choreo.music.synth import Style

Direction = Literal["forward", "back", "side", "diagonal", "close", "across", "behind", "replace"]
Role = Literal["lead", "follow"]
Hold = Literal["closed", "open"]

OPPOSITE: Final[Mapping[Direction, Direction]] = MappingProxyType(
    {"forward": "back", "back": "forward", "across": "behind", "behind": "across"}
)
"""Of the follower; other directions are the same on the other foot."""


@dataclass(frozen=True)
class Footfall:
    """A foot takes its place on a count.

    Attributes:
        count: beat of the figure on which it arrives; 1 is the first, 2.5 the `and` after the second.
        foot: LEFT or RIGHT.
        direction: from the standing foot, as the body faces: forward, back, side (that of the foot), diagonal (forward
            and to the side), close (next to the standing foot), across or behind (crossing it), replace (the foot has
            stayed where it was, and takes the weight again).
        length: in steps of the dance.
        turn: of the body until then, degrees, to the left.
        rise: 0 on flat feet, 1 as high as the toes.
        sway: inclination of the body to the left, -1..1.
        hip: strength of the hip action.
        knee: further bend of the knees, metres that the pelvis sinks.
        weight: False for a tap or a drag: the foot arrives without weight.
        head: where the dancer looks, degrees to the left of the chest.
        open: how far the arms are opened, 0..1.
    """

    count: float
    foot: int
    direction: Direction
    length: float = 1.0
    turn: float = 0.0
    rise: float = 0.0
    sway: float = 0.0
    hip: float = 1.0
    knee: float = 0.0
    weight: bool = True
    head: float = 0.0
    open: float = 0.0

    def followed(self) -> "Footfall":
        """The same footfall of the follower."""
        return replace(
            self,
            foot=LEFT + RIGHT - self.foot,
            direction=OPPOSITE.get(self.direction, self.direction),
            sway=-self.sway,
            head=-self.head,
        )


@dataclass(frozen=True)
class Figure:
    """A named sequence of footfalls.

    Attributes:
        beats: length; the next figure's first count follows.
        footfalls: in order of their counts.
        phrase: what the dancer does in it, after "a dancer does".
        share: how often it is chosen, relative to others.
    """

    beats: int
    footfalls: tuple[Footfall, ...]
    phrase: str
    share: float = 1.0

    def begins_on(self, role: Role) -> int:
        """The foot of the first footfall."""
        first = self.footfalls[0].foot
        return first if role == "lead" else LEFT + RIGHT - first


@dataclass(frozen=True)
class Character:
    """How a dance is danced.

    Attributes:
        hold: of the arms: closed with an unseen partner, or open.
        step: length of a step, metres.
        lift: height of the ball of a foot half-way, metres.
        swing: longest time that a foot takes for a step, seconds.
        flow: speed of the body between steps where it passes over a foot; 0 stops there, 1 does not slow down.
        settle: time from the arrival of a foot to that of the weight, seconds.
        trail: part of a step by which the body is behind when the foot arrives.
        knee: bend of the knees, metres that the pelvis sinks.
        landing: by how much more it sinks after each step, metres.
        bounce: amplitude of a bounce in the knees, metres.
        bounces: per beat.
        roll: raising of the hip above the standing leg, radians.
        hips: turn of the pelvis towards the standing leg, radians.
        free_heel: pitch of a foot that carries no weight, radians.
        turn_out: of the feet, radians.
        sway: inclination of the body at sway 1, radians.
        lean: forwards, radians.
        heel_lead: pitch at which forward steps land, radians.
        shift: how far the pelvis goes over the standing foot, 0..1.
        head: time in which the head turns, seconds.
        arms: how much the arms move with the body, 0..1.
    """

    hold: Hold
    step: float
    lift: float = 0.065
    swing: float = 0.45
    flow: float = 0.3
    settle: float = 0.06
    trail: float = 0.08
    knee: float = 0.02
    landing: float = 0.008
    bounce: float = 0.0
    bounces: float = 1.0
    roll: float = 0.03
    hips: float = 0.05
    free_heel: float = 0.15
    turn_out: float = 0.1
    sway: float = 0.12
    lean: float = 0.0
    heel_lead: float = 0.0
    shift: float = 0.7
    head: float = 0.4
    arms: float = 0.2


@dataclass(frozen=True)
class StepDance:
    """A kind of dance.

    Attributes:
        genre: its name in captions.
        tempos: slowest and fastest music, BPM.
        music: a bar of it.
        character: how it is danced.
        figures: by name.
        captions: sentences about a whole dance.
    """

    genre: str
    tempos: tuple[float, float]
    music: Style
    character: Character
    figures: Mapping[str, Figure]
    captions: tuple[str, ...]
