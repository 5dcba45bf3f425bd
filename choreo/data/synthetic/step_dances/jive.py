"""Jive: 4/4, a back rock and two triple steps over six beats."""

from types import MappingProxyType
from typing import Final

from choreo.data.synthetic.choreography import LEFT, RIGHT
from choreo.data.synthetic.step_dances.figures import Character, Figure, Footfall, StepDance
from choreo.music.synth import Style

FIGURES: Final = MappingProxyType(
    {
        "basic": Figure(6, (
            Footfall(1, LEFT, "back"),
            Footfall(2, RIGHT, "replace"),
            Footfall(3, LEFT, "side", 0.7),
            Footfall(3.6, RIGHT, "close", hip=0.5),
            Footfall(4, LEFT, "side", 0.4),
            Footfall(5, RIGHT, "side", 0.7),
            Footfall(5.6, LEFT, "close", hip=0.5),
            Footfall(6, RIGHT, "side", 0.4),
        ), "the jive basic, a rock step and two triple steps", 1.5),
        "fallaway": Figure(6, (
            Footfall(1, LEFT, "back", turn=50, open=0.8),
            Footfall(2, RIGHT, "replace", turn=-20, open=0.4),
            Footfall(3, LEFT, "side", 0.7, turn=-30),
            Footfall(3.6, RIGHT, "close", hip=0.5),
            Footfall(4, LEFT, "side", 0.4),
            Footfall(5, RIGHT, "side", 0.7),
            Footfall(5.6, LEFT, "close", hip=0.5),
            Footfall(6, RIGHT, "side", 0.4),
        ), "a fallaway rock"),
        "change of places": Figure(6, (
            Footfall(1, LEFT, "back", open=0.5),
            Footfall(2, RIGHT, "replace"),
            Footfall(3, LEFT, "side", 0.6, turn=40),
            Footfall(3.6, RIGHT, "close", hip=0.5, turn=25),
            Footfall(4, LEFT, "forward", 0.4, turn=25, open=0.5),
            Footfall(5, RIGHT, "forward", 0.6, turn=30, open=0.8),
            Footfall(5.6, LEFT, "close", hip=0.5, turn=30),
            Footfall(6, RIGHT, "back", 0.4, turn=30),
        ), "a change of places, turning to the left"),
        "walks": Figure(8, (
            Footfall(1, LEFT, "back", turn=40, open=0.5),
            Footfall(2, RIGHT, "replace", turn=-40),
            Footfall(3, LEFT, "side", 0.7),
            Footfall(4, RIGHT, "across", 0.5, turn=20, open=0.5),
            Footfall(5, LEFT, "side", 0.7, turn=-20),
            Footfall(6, RIGHT, "side", 0.3),
            Footfall(7, LEFT, "close"),
            Footfall(8, RIGHT, "side", 0.3),
        ), "jive walks", 0.6),
    }
)  # fmt: skip

JIVE: Final = StepDance(
    genre="jive",
    tempos=(128.0, 152.0),
    music=Style(
        4, kick=(0, 2), snare=(1, 3), hat=(0, 1, 1.67, 2, 3, 3.67), bass=(0, 1, 2, 3),
        chords=((0, 4, 7, 10), (0, 4, 7, 10), (5, 9, 12), (-5, -1, 2, 5)), octave_hz=55.0,
    ),
    character=Character(
        "open", step=0.34, lift=0.055, swing=0.34, flow=0.1, settle=0.0, knee=0.035, bounce=0.018, roll=0.08, hips=0.12,
        free_heel=0.35, turn_out=0.15, shift=0.8, lean=0.06, arms=1.0,
    ),
    figures=FIGURES,
    captions=(
        "a dancer dances a bouncy jive",
        "a person dances jive with triple steps",
        "a fast rock and roll jive, rock step and triple steps",
        "someone jives, light on the feet",
    ),
)  # fmt: skip
