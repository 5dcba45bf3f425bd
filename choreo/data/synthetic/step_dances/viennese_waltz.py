"""Viennese waltz: fast 3/4, continuous turns with changes between them."""

from types import MappingProxyType
from typing import Final

from choreo.data.synthetic.choreography import LEFT, RIGHT
from choreo.data.synthetic.step_dances.figures import Character, Figure, Footfall, StepDance
from choreo.music.synth import Style

FIGURES: Final = MappingProxyType(
    {
        "natural turn": Figure(6, (
            Footfall(1, RIGHT, "forward", turn=-60, knee=0.015),
            Footfall(2, LEFT, "side", 0.9, turn=-85, rise=0.35, sway=-1),
            Footfall(3, RIGHT, "close", turn=-35, rise=0.4, sway=-0.8),
            Footfall(4, LEFT, "back", 0.9, turn=-60, knee=0.015),
            Footfall(5, RIGHT, "side", 0.9, turn=-85, rise=0.3, sway=0.8),
            Footfall(6, LEFT, "close", turn=-35, rise=0.2, sway=0.6),
        ), "natural turns to the right", 3.0),
        "reverse turn": Figure(6, (
            Footfall(1, LEFT, "forward", turn=60, knee=0.015),
            Footfall(2, RIGHT, "side", 0.9, turn=85, rise=0.35, sway=1),
            Footfall(3, LEFT, "across", turn=35, rise=0.3, sway=0.8),
            Footfall(4, RIGHT, "back", 0.9, turn=60, knee=0.015),
            Footfall(5, LEFT, "side", 0.9, turn=85, rise=0.3, sway=-0.8),
            Footfall(6, RIGHT, "close", turn=35, rise=0.2, sway=-0.6),
        ), "reverse turns to the left", 3.0),
        "right change step": Figure(3, (
            Footfall(1, RIGHT, "forward", knee=0.015),
            Footfall(2, LEFT, "diagonal", 0.8, rise=0.35, sway=-0.6),
            Footfall(3, RIGHT, "close", rise=0.4, sway=-0.6),
        ), "a change step"),
        "left change step": Figure(3, (
            Footfall(1, LEFT, "forward", knee=0.015),
            Footfall(2, RIGHT, "diagonal", 0.8, rise=0.35, sway=0.6),
            Footfall(3, LEFT, "close", rise=0.4, sway=0.6),
        ), "a change step"),
        "pendulum": Figure(6, (
            Footfall(1, LEFT, "side", 0.7, knee=0.015),
            Footfall(2.5, RIGHT, "close", rise=0.35, sway=-0.8, weight=False),
            Footfall(4, RIGHT, "side", 0.7, knee=0.015),
            Footfall(5.5, LEFT, "close", rise=0.35, sway=0.8, weight=False),
        ), "pendulum steps from side to side", 0.6),
    }
)  # fmt: skip

VIENNESE_WALTZ: Final = StepDance(
    genre="viennese waltz",
    tempos=(162.0, 180.0),
    music=Style(
        3, kick=(0,), snare=(1, 2), hat=(0,), bass=(0, 1, 2),
        chords=((0, 4, 7), (0, 4, 7), (-5, -1, 2, 5), (-5, -1, 2, 5), (0, 4, 7), (5, 9, 12)), octave_hz=65.4,
    ),
    character=Character(
        "closed", step=0.34, lift=0.055, swing=0.27, flow=0.4, settle=-0.03, trail=0.15, knee=0.025, bounce=0.008,
        sway=0.1, lean=-0.03, heel_lead=0.1,
    ),
    figures=FIGURES,
    captions=(
        "a dancer turns in a fast viennese waltz",
        "a person dances a viennese waltz",
        "a viennese waltz, turning round and round across the floor",
        "someone whirls through a quick waltz in ballroom hold",
    ),
)  # fmt: skip
