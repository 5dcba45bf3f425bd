"""Waltz: 3/4, step, side, close, with rise and fall and sway."""

from types import MappingProxyType
from typing import Final

from choreo.data.synthetic.choreography import LEFT, RIGHT
from choreo.data.synthetic.step_dances.figures import Character, Figure, Footfall, StepDance
from choreo.music.synth import Style

_LOW: Final = 0.03

FIGURES: Final = MappingProxyType(
    {
        "box step": Figure(6, (
            Footfall(1, LEFT, "forward", 0.8, knee=_LOW),
            Footfall(2, RIGHT, "side", 0.8, rise=0.6, sway=0.6),
            Footfall(3, LEFT, "close", rise=1, sway=0.6),
            Footfall(4, RIGHT, "back", 0.8, knee=_LOW),
            Footfall(5, LEFT, "side", 0.8, rise=0.6, sway=-0.6),
            Footfall(6, RIGHT, "close", rise=1, sway=-0.6),
        ), "a box step", 1.2),
        "natural turn": Figure(6, (
            Footfall(1, RIGHT, "forward", turn=-35, knee=_LOW),
            Footfall(2, LEFT, "side", turn=-75, rise=0.7, sway=-1),
            Footfall(3, RIGHT, "close", turn=-25, rise=1, sway=-1),
            Footfall(4, LEFT, "back", turn=-35, knee=_LOW),
            Footfall(5, RIGHT, "side", turn=-75, rise=0.7, sway=1),
            Footfall(6, LEFT, "close", turn=-25, rise=1, sway=1),
        ), "a natural turn to the right", 1.5),
        "reverse turn": Figure(6, (
            Footfall(1, LEFT, "forward", turn=35, knee=_LOW),
            Footfall(2, RIGHT, "side", turn=75, rise=0.7, sway=1),
            Footfall(3, LEFT, "close", turn=25, rise=1, sway=1),
            Footfall(4, RIGHT, "back", turn=35, knee=_LOW),
            Footfall(5, LEFT, "side", turn=75, rise=0.7, sway=-1),
            Footfall(6, RIGHT, "close", turn=25, rise=1, sway=-1),
        ), "a reverse turn to the left", 1.5),
        "right change step": Figure(3, (
            Footfall(1, RIGHT, "forward", knee=_LOW),
            Footfall(2, LEFT, "diagonal", 0.9, rise=0.7, sway=-0.7),
            Footfall(3, RIGHT, "close", rise=1, sway=-0.7),
        ), "a change step", 0.7),
        "left change step": Figure(3, (
            Footfall(1, LEFT, "forward", knee=_LOW),
            Footfall(2, RIGHT, "diagonal", 0.9, rise=0.7, sway=0.7),
            Footfall(3, LEFT, "close", rise=1, sway=0.7),
        ), "a change step", 0.7),
        "backward change step": Figure(3, (
            Footfall(1, RIGHT, "back", knee=_LOW),
            Footfall(2, LEFT, "side", 0.9, rise=0.7, sway=-0.7),
            Footfall(3, RIGHT, "close", rise=1, sway=-0.7),
        ), "a change step backwards", 0.7),
        "hesitation": Figure(3, (
            Footfall(1, LEFT, "side", 0.9, turn=-20, knee=_LOW),
            Footfall(3, RIGHT, "close", rise=0.5, sway=-0.8, weight=False),
        ), "a hesitation step", 0.5),
        "whisk and chasse": Figure(6, (
            Footfall(1, LEFT, "forward", knee=_LOW),
            Footfall(2, RIGHT, "side", 0.7, rise=0.7, sway=0.6),
            Footfall(3, LEFT, "behind", turn=25, rise=1, sway=0.4, head=40),
            Footfall(4, RIGHT, "across", turn=-10, knee=_LOW, head=40),
            Footfall(5, LEFT, "side", 0.5, rise=0.6, head=20),
            Footfall(5.5, RIGHT, "close", rise=0.9, turn=-10),
            Footfall(6, LEFT, "side", 0.5, rise=1),
        ), "a whisk and a chasse", 0.8),
    }
)  # fmt: skip

WALTZ: Final = StepDance(
    genre="waltz",
    tempos=(84.0, 96.0),
    music=Style(
        3, kick=(0,), snare=(1, 2), hat=(0, 1, 2), bass=(0,),
        chords=((0, 4, 7), (-3, 0, 4), (5, 9, 12), (-5, -1, 2, 5)), octave_hz=65.4,
    ),
    character=Character(
        "closed", step=0.56, lift=0.06, swing=0.5, flow=0.3, settle=-0.06, trail=0.2, knee=0.02, landing=0.016,
        bounce=0.004, sway=0.12, lean=-0.03, heel_lead=0.35,
    ),
    figures=FIGURES,
    captions=(
        "a dancer waltzes with rise and fall",
        "a person dances a slow waltz",
        "a ballroom waltz in three four time, turning and swaying",
        "someone waltzes in ballroom hold, one two three",
    ),
)  # fmt: skip
