"""Ballroom tango: slow and quick steps on flat feet with bent knees, no rise, staccato head.

In a slow step the free foot first closes, on the second beat, and then goes on to its place.
"""

from types import MappingProxyType
from typing import Final

from choreo.data.synthetic.choreography import LEFT, RIGHT
from choreo.data.synthetic.step_dances.figures import Character, Figure, Footfall, StepDance
from choreo.music.synth import Style

_OPEN: Final = 55.0
"""The head in promenade position."""

FIGURES: Final = MappingProxyType(
    {
        "basic": Figure(8, (
            Footfall(1, LEFT, "forward", turn=8),
            Footfall(2, RIGHT, "close", weight=False),
            Footfall(3, RIGHT, "forward", turn=8),
            Footfall(4, LEFT, "close", weight=False),
            Footfall(5, LEFT, "forward", 0.7),
            Footfall(6, RIGHT, "side", 0.7),
            Footfall(7, LEFT, "close", weight=False),
        ), "the tango basic, slow slow quick quick slow", 1.5),
        "back basic": Figure(8, (
            Footfall(1, LEFT, "back", 0.9),
            Footfall(2, RIGHT, "close", weight=False),
            Footfall(3, RIGHT, "back", 0.9),
            Footfall(4, LEFT, "close", weight=False),
            Footfall(5, LEFT, "back", 0.6),
            Footfall(6, RIGHT, "side", 0.7),
            Footfall(7, LEFT, "close", weight=False),
        ), "tango walks backwards", 0.9),
        "walks": Figure(4, (
            Footfall(1, LEFT, "forward", turn=12),
            Footfall(2, RIGHT, "close", weight=False),
            Footfall(3, RIGHT, "forward", turn=12),
            Footfall(4, LEFT, "close", weight=False),
        ), "two slow tango walks", 0.8),
        "promenade": Figure(8, (
            Footfall(1, LEFT, "forward", 0.7, turn=5),
            Footfall(2, RIGHT, "side", 0.3, turn=-40, head=_OPEN),
            Footfall(3, LEFT, "side", 0.9, head=_OPEN),
            Footfall(4, RIGHT, "close", weight=False, head=_OPEN),
            Footfall(5, RIGHT, "across", 1.2, head=_OPEN),
            Footfall(6, LEFT, "side", 0.7, turn=35),
            Footfall(7, RIGHT, "close"),
        ), "a progressive link and a closed promenade", 1.2),
        "reverse turn": Figure(8, (
            Footfall(1, LEFT, "forward", turn=45),
            Footfall(2, RIGHT, "side", 0.8, turn=75),
            Footfall(3, LEFT, "back", 0.9, turn=10),
            Footfall(4, RIGHT, "close", weight=False),
            Footfall(5, RIGHT, "back", 0.9, turn=45),
            Footfall(6, LEFT, "side", 0.7, turn=75),
            Footfall(7, RIGHT, "close", turn=10),
        ), "a reverse turn to the left"),
        "corte": Figure(8, (
            Footfall(1, LEFT, "back", 0.75, knee=0.06, sway=0.7, head=-35),
            Footfall(3, RIGHT, "replace"),
            Footfall(4, LEFT, "close", weight=False),
            Footfall(5, LEFT, "forward", 0.7),
            Footfall(6, RIGHT, "side", 0.7),
            Footfall(7, LEFT, "close", weight=False),
        ), "a corte, dipping back on a bent leg"),
        "rocks": Figure(8, (
            Footfall(1, LEFT, "forward", 0.8, turn=15),
            Footfall(2, RIGHT, "replace", turn=15),
            Footfall(3, LEFT, "forward", 0.8, turn=15, head=30),
            Footfall(5, RIGHT, "replace", turn=15),
            Footfall(6, LEFT, "side", 0.6, turn=20),
            Footfall(7, RIGHT, "close"),
        ), "tango rocks, turning to the left", 0.8),
    }
)  # fmt: skip

TANGO: Final = StepDance(
    genre="tango",
    tempos=(120.0, 132.0),
    music=Style(
        4, kick=(0, 1, 2, 3), snare=(0, 3.5), hat=(0, 2), bass=(0, 1, 2, 3),
        chords=((0, 3, 7), (-5, -1, 2), (-5, -1, 2, 5), (0, 3, 7)), octave_hz=55.0,
    ),
    character=Character(
        "closed", step=0.82, lift=0.06, swing=0.42, flow=0.0, settle=-0.04, trail=0.22, knee=0.06, landing=0.012,
        bounce=0.004, roll=0.0, hips=0.12, free_heel=0.1, turn_out=0.05, sway=0.1, lean=-0.02, heel_lead=0.3,
        head=0.14, arms=0.5,
    ),
    figures=FIGURES,
    captions=(
        "a dancer dances a tango with sharp turns of the head",
        "a person dances a ballroom tango",
        "a staccato tango, stalking walks on bent knees",
        "someone dances tango in close hold, slow slow quick quick slow",
    ),
)  # fmt: skip
