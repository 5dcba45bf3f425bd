"""Rumba: 4/4, steps on 2, 3 and 4, the hips settle over 4 and 1; straight legs and strong hip action."""

from types import MappingProxyType
from typing import Final

from choreo.data.synthetic.choreography import LEFT, RIGHT
from choreo.data.synthetic.step_dances.figures import Character, Figure, Footfall, StepDance
from choreo.music.synth import Style

FIGURES: Final = MappingProxyType(
    {
        "basic": Figure(8, (
            Footfall(2, LEFT, "forward", turn=10),
            Footfall(3, RIGHT, "replace", turn=10),
            Footfall(4, LEFT, "side", 1.1, turn=25),
            Footfall(6, RIGHT, "back", turn=10),
            Footfall(7, LEFT, "replace", turn=10),
            Footfall(8, RIGHT, "side", 1.1, turn=25),
        ), "the basic movement with hip action", 1.5),
        "box": Figure(8, (
            Footfall(2, LEFT, "side"),
            Footfall(3, RIGHT, "close"),
            Footfall(4, LEFT, "forward"),
            Footfall(6, RIGHT, "side"),
            Footfall(7, LEFT, "close"),
            Footfall(8, RIGHT, "back"),
        ), "a rumba box"),
        "new yorkers": Figure(8, (
            Footfall(2, LEFT, "forward", turn=-80, open=1),
            Footfall(3, RIGHT, "replace", turn=35, open=0.7),
            Footfall(4, LEFT, "side", 0.9, turn=45),
            Footfall(6, RIGHT, "forward", turn=80, open=1),
            Footfall(7, LEFT, "replace", turn=-35, open=0.7),
            Footfall(8, RIGHT, "side", 0.9, turn=-45),
        ), "new yorkers to both sides", 1.3),
        "hand to hand": Figure(8, (
            Footfall(2, LEFT, "back", turn=80, open=1),
            Footfall(3, RIGHT, "replace", turn=-35, open=0.6),
            Footfall(4, LEFT, "side", 0.9, turn=-45),
            Footfall(6, RIGHT, "back", turn=-80, open=1),
            Footfall(7, LEFT, "replace", turn=35, open=0.6),
            Footfall(8, RIGHT, "side", 0.9, turn=45),
        ), "hand to hand, opening out to both sides"),
        "spot turn": Figure(8, (
            Footfall(2, LEFT, "forward", 0.8, turn=-90, open=0.5),
            Footfall(3, RIGHT, "replace", turn=-150, open=0.5),
            Footfall(4, LEFT, "side", 0.9, turn=-120),
            Footfall(6, RIGHT, "forward", 0.8, turn=90, open=0.5),
            Footfall(7, LEFT, "replace", turn=150, open=0.5),
            Footfall(8, RIGHT, "side", 0.9, turn=120),
        ), "spot turns to both sides", 0.8),
        "cucarachas": Figure(8, (
            Footfall(2, LEFT, "side", 0.9, hip=1.2, open=0.7),
            Footfall(3, RIGHT, "replace"),
            Footfall(4, LEFT, "close"),
            Footfall(6, RIGHT, "side", 0.9, hip=1.2, open=0.7),
            Footfall(7, LEFT, "replace"),
            Footfall(8, RIGHT, "close"),
        ), "cucarachas from side to side", 0.8),
    }
)  # fmt: skip

RUMBA: Final = StepDance(
    genre="rumba",
    tempos=(96.0, 108.0),
    music=Style(
        4, kick=(0, 3), snare=(1, 2.5), hat=(0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5), bass=(0, 1.5, 2, 3),
        chords=((0, 3, 7), (-2, 2, 5), (-4, 0, 3), (-5, -1, 2)), octave_hz=55.0,
    ),
    character=Character(
        "open", step=0.34, swing=0.43, lift=0.05, landing=0.016, flow=0.0, settle=-0.06, knee=0.0, roll=0.15,
        hips=0.22, free_heel=0.25, turn_out=0.22, shift=0.95, arms=0.9,
    ),
    figures=FIGURES,
    captions=(
        "a dancer dances a rumba with rolling hips",
        "a person dances a slow latin rumba",
        "a rumba, slow and sensual, with cuban motion of the hips",
        "someone steps through a rumba, two three four one",
    ),
)  # fmt: skip
