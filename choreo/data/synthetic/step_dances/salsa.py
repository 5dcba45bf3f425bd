"""Salsa on 1: 4/4, steps on 1, 2, 3 and 5, 6, 7, with taps on 4 and 8 in the basics."""

from types import MappingProxyType
from typing import Final

from choreo.data.synthetic.choreography import LEFT, RIGHT
from choreo.data.synthetic.step_dances.figures import Character, Figure, Footfall, StepDance
from choreo.music.synth import Style

FIGURES: Final = MappingProxyType(
    {
        "basic": Figure(8, (
            Footfall(1, LEFT, "forward"),
            Footfall(2, RIGHT, "replace"),
            Footfall(3, LEFT, "close"),
            Footfall(4, RIGHT, "side", 0.25, weight=False),
            Footfall(5, RIGHT, "back"),
            Footfall(6, LEFT, "replace"),
            Footfall(7, RIGHT, "close"),
            Footfall(8, LEFT, "side", 0.25, weight=False),
        ), "the salsa basic, forwards and back", 1.6),
        "side basic": Figure(8, (
            Footfall(1, LEFT, "side", open=0.4),
            Footfall(2, RIGHT, "replace"),
            Footfall(3, LEFT, "close"),
            Footfall(4, RIGHT, "side", 0.25, weight=False),
            Footfall(5, RIGHT, "side", open=0.4),
            Footfall(6, LEFT, "replace"),
            Footfall(7, RIGHT, "close"),
            Footfall(8, LEFT, "side", 0.25, weight=False),
        ), "a salsa side basic"),
        "cumbia basic": Figure(8, (
            Footfall(1, LEFT, "behind", turn=25, open=0.6),
            Footfall(2, RIGHT, "replace", turn=-15),
            Footfall(3, LEFT, "side", 0.6, turn=-10),
            Footfall(5, RIGHT, "behind", turn=-25, open=0.6),
            Footfall(6, LEFT, "replace", turn=15),
            Footfall(7, RIGHT, "side", 0.6, turn=10),
        ), "back breaks from side to side"),
        "right turn": Figure(8, (
            Footfall(1, LEFT, "forward", 0.8, turn=-30),
            Footfall(2, RIGHT, "replace", turn=-170),
            Footfall(3, LEFT, "close", turn=-160),
            Footfall(5, RIGHT, "back"),
            Footfall(6, LEFT, "replace"),
            Footfall(7, RIGHT, "close"),
            Footfall(8, LEFT, "side", 0.25, weight=False),
        ), "a full turn to the right"),
        "cross body lead": Figure(8, (
            Footfall(1, LEFT, "forward"),
            Footfall(2, RIGHT, "replace", turn=45, open=0.4),
            Footfall(3, LEFT, "side", 0.5, turn=45, open=0.8),
            Footfall(5, RIGHT, "back", 0.8, turn=20),
            Footfall(6, LEFT, "replace", turn=50),
            Footfall(7, RIGHT, "close", turn=20),
        ), "a cross body lead"),
    }
)  # fmt: skip

SALSA: Final = StepDance(
    genre="salsa",
    tempos=(150.0, 184.0),
    music=Style(
        4, kick=(0, 1.5), snare=(1, 3, 3.5), hat=(0, 0.5, 1, 2, 2.5, 3), bass=(0, 1.5, 3),
        chords=((0, 3, 7), (5, 8, 12), (-5, -1, 2, 5), (5, 8, 12)), octave_hz=55.0,
    ),
    character=Character(
        "open", step=0.43, lift=0.045, swing=0.29, flow=0.1, settle=-0.02, trail=0.15, knee=0.015, bounce=0.016,
        roll=0.1, hips=0.18, free_heel=0.3, turn_out=0.18, shift=0.85, arms=0.3,
    ),
    figures=FIGURES,
    captions=(
        "a dancer dances salsa with moving hips",
        "a person dances the salsa basic and turns",
        "an energetic salsa, forward and back breaks",
        "someone dances salsa on one",
    ),
)  # fmt: skip
