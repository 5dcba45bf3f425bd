"""Samba: 2/4, counted 1 a 2, with a bounce in the knees."""

from types import MappingProxyType
from typing import Final

from choreo.data.synthetic.choreography import LEFT, RIGHT
from choreo.data.synthetic.step_dances.figures import Character, Figure, Footfall, StepDance
from choreo.music.synth import Style

FIGURES: Final = MappingProxyType(
    {
        "basic": Figure(4, (
            Footfall(1, LEFT, "forward"),
            Footfall(1.75, RIGHT, "close", hip=0.5),
            Footfall(2, LEFT, "replace"),
            Footfall(3, RIGHT, "back"),
            Footfall(3.75, LEFT, "close", hip=0.5),
            Footfall(4, RIGHT, "replace"),
        ), "the samba basic, forwards and back", 1.2),
        "whisks": Figure(4, (
            Footfall(1, LEFT, "side", 1.1, open=0.5),
            Footfall(1.75, RIGHT, "behind", hip=0.5, open=0.6),
            Footfall(2, LEFT, "replace", open=0.3),
            Footfall(3, RIGHT, "side", 1.1, open=0.5),
            Footfall(3.75, LEFT, "behind", hip=0.5, open=0.6),
            Footfall(4, RIGHT, "replace", open=0.3),
        ), "samba whisks to both sides", 1.4),
        "side basic turning": Figure(4, (
            Footfall(1, LEFT, "side", 0.8, turn=20),
            Footfall(1.75, RIGHT, "close", hip=0.5, turn=10),
            Footfall(2, LEFT, "replace", turn=15),
            Footfall(3, RIGHT, "side", 0.8, turn=20),
            Footfall(3.75, LEFT, "close", hip=0.5, turn=10),
            Footfall(4, RIGHT, "replace", turn=15),
        ), "a samba side basic, turning to the left"),
        "voltas": Figure(8, (
            Footfall(1, LEFT, "across", open=0.8),
            Footfall(1.75, RIGHT, "side", 0.4, hip=0.4, open=0.8),
            Footfall(2, LEFT, "across", open=0.8),
            Footfall(2.75, RIGHT, "side", 0.4, hip=0.4, open=0.8),
            Footfall(3, LEFT, "across", open=0.8),
            Footfall(4, RIGHT, "side", 0.6, open=0.4),
            Footfall(5, LEFT, "close", open=0.2),
            Footfall(5.75, RIGHT, "side", 0.4, hip=0.4, open=0.8),
            Footfall(6, LEFT, "close", open=0.8),
            Footfall(7, RIGHT, "side", 0.6, open=0.4),
            Footfall(7.75, LEFT, "close", hip=0.4),
            Footfall(8, RIGHT, "replace"),
        ), "travelling voltas to the right", 0.7),
        "samba walks": Figure(4, (
            Footfall(1, LEFT, "forward"),
            Footfall(1.75, RIGHT, "back", 0.5, hip=0.5),
            Footfall(2, LEFT, "replace"),
            Footfall(3, RIGHT, "forward"),
            Footfall(3.75, LEFT, "back", 0.5, hip=0.5),
            Footfall(4, RIGHT, "replace"),
        ), "samba walks"),
    }
)  # fmt: skip

SAMBA: Final = StepDance(
    genre="samba",
    tempos=(92.0, 104.0),
    music=Style(
        2, kick=(0, 0.75, 1), snare=(0.5, 1.25, 1.75),
        hat=(0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75), bass=(0, 0.75, 1),
        chords=((0, 4, 7), (0, 4, 7), (2, 5, 9), (-5, -1, 2, 5)), octave_hz=49.0,
    ),
    character=Character(
        "open", step=0.36, lift=0.05, swing=0.4, flow=0.1, settle=-0.04, knee=0.04, bounce=0.025, roll=0.11, hips=0.17,
        free_heel=0.3, turn_out=0.2, shift=0.85, arms=0.7,
    ),
    figures=FIGURES,
    captions=(
        "a dancer dances a samba with a bounce in the knees",
        "a person dances a brazilian samba",
        "a bouncing latin samba with whisks",
        "someone dances samba, one a two",
    ),
)  # fmt: skip
