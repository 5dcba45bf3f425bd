"""Cha-cha: 4/4, a rock step on 2 and 3, a triple step on 4, and, 1."""

from types import MappingProxyType
from typing import Final

from choreo.data.synthetic.choreography import LEFT, RIGHT
from choreo.data.synthetic.step_dances.figures import Character, Figure, Footfall, StepDance
from choreo.music.synth import Style

_LEFT_CHASSE: Final = (
    Footfall(4, LEFT, "side", 0.6), Footfall(4.5, RIGHT, "close", hip=0.5), Footfall(5, LEFT, "side", 0.7),
)  # fmt: skip
_RIGHT_CHASSE: Final = (
    Footfall(8, RIGHT, "side", 0.6), Footfall(8.5, LEFT, "close", hip=0.5), Footfall(9, RIGHT, "side", 0.7),
)  # fmt: skip

FIGURES: Final = MappingProxyType(
    {
        "basic": Figure(8, (
            Footfall(2, LEFT, "forward", turn=15),
            Footfall(3, RIGHT, "replace", turn=10),
            *_LEFT_CHASSE,
            Footfall(6, RIGHT, "back", turn=15),
            Footfall(7, LEFT, "replace", turn=10),
            *_RIGHT_CHASSE,
        ), "the cha cha basic with side chasses", 1.5),
        "new yorkers": Figure(8, (
            Footfall(2, LEFT, "forward", turn=-80, open=1),
            Footfall(3, RIGHT, "replace", turn=40, open=0.7),
            Footfall(4, LEFT, "side", 0.6, turn=40),
            *_LEFT_CHASSE[1:],
            Footfall(6, RIGHT, "forward", turn=80, open=1),
            Footfall(7, LEFT, "replace", turn=-40, open=0.7),
            Footfall(8, RIGHT, "side", 0.6, turn=-40),
            *_RIGHT_CHASSE[1:],
        ), "new yorkers with chasses", 1.5),
        "hand to hand": Figure(8, (
            Footfall(2, LEFT, "back", turn=80, open=1),
            Footfall(3, RIGHT, "replace", turn=-40, open=0.7),
            Footfall(4, LEFT, "side", 0.6, turn=-40),
            *_LEFT_CHASSE[1:],
            Footfall(6, RIGHT, "back", turn=-80, open=1),
            Footfall(7, LEFT, "replace", turn=40, open=0.7),
            Footfall(8, RIGHT, "side", 0.6, turn=40),
            *_RIGHT_CHASSE[1:],
        ), "hand to hand with chasses"),
        "spot turns": Figure(8, (
            Footfall(2, LEFT, "forward", 0.8, turn=-90, open=0.4),
            Footfall(3, RIGHT, "replace", turn=-160, open=0.4),
            Footfall(4, LEFT, "side", 0.5, turn=-110),
            *_LEFT_CHASSE[1:],
            Footfall(6, RIGHT, "forward", 0.8, turn=90, open=0.4),
            Footfall(7, LEFT, "replace", turn=160, open=0.4),
            Footfall(8, RIGHT, "side", 0.5, turn=110),
            *_RIGHT_CHASSE[1:],
        ), "spot turns to both sides", 0.8),
        "lock steps": Figure(8, (
            Footfall(2, LEFT, "forward"),
            Footfall(3, RIGHT, "replace"),
            Footfall(4, LEFT, "back", 0.8),
            Footfall(4.5, RIGHT, "across", hip=0.5),
            Footfall(5, LEFT, "back", 0.8),
            Footfall(6, RIGHT, "back"),
            Footfall(7, LEFT, "replace"),
            Footfall(8, RIGHT, "forward", 0.8),
            Footfall(8.5, LEFT, "behind", hip=0.5),
            Footfall(9, RIGHT, "forward", 0.8),
        ), "lock steps backwards and forwards"),
        "time steps": Figure(8, (
            Footfall(2, LEFT, "behind", open=0.6),
            Footfall(3, RIGHT, "replace", open=0.3),
            *_LEFT_CHASSE,
            Footfall(6, RIGHT, "behind", open=0.6),
            Footfall(7, LEFT, "replace", open=0.3),
            *_RIGHT_CHASSE,
        ), "time steps from side to side"),
    }
)  # fmt: skip

CHA_CHA: Final = StepDance(
    genre="cha cha",
    tempos=(112.0, 128.0),
    music=Style(
        4, kick=(0, 2), snare=(1, 3, 3.5), hat=(0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5), bass=(0, 1.5, 3, 3.5),
        chords=((0, 4, 7), (5, 9, 12), (-5, -1, 2, 5), (5, 9, 12)), octave_hz=55.0,
    ),
    character=Character(
        "open", step=0.42, lift=0.075, swing=0.4, flow=0.0, settle=-0.02, knee=0.005, landing=0.012, roll=0.14,
        hips=0.24, free_heel=0.4, turn_out=0.2, shift=0.95, arms=1.2,
    ),
    figures=FIGURES,
    captions=(
        "a dancer dances a cha cha with quick chasses",
        "a person dances the cha cha cha",
        "a lively latin cha cha, rock step and triple step",
        "someone dances cha cha with sharp hips, two three cha cha cha",
    ),
)  # fmt: skip
