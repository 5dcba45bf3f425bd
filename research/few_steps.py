"""Scores of few-step samplers and of a distilled student on held-out windows, by number of evaluations.

`from many steps` is the mean joint distance from DDIM with `--many` steps and the same noise. A student is a checkpoint
of `choreo train recipes/lcm.yaml`; it has guidance distilled into it and is sampled without. `undistilled` is
consistency sampling of the teacher.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer

from bench.command import CHECKPOINT, DATA, benchmark, quick
from bench.report import Row, skipped
from choreo.command_line import say
from choreo.diffusion.presets import PRESETS, Preset
from choreo.errors import InvalidInput
from choreo.generators.checkpoint import load_generator
from choreo.generators.network import GeneratorNetwork
from choreo.training.held_out_dances import HeldOutDances
from research.held_out import GUIDANCE, QUICK, WINDOWS, Dances, apart, danced, open_windows, rows_of
from serving.settings import Settings

FEW: Final = (1, 2, 4)
"""Numbers of steps of consistency sampling."""


@dataclass(frozen=True)
class Case:
    """A sampler with its steps and guidance."""

    name: str
    way: Preset
    guidance_scale: float = GUIDANCE


@benchmark
def main(
    data: Annotated[Path, DATA],
    checkpoint: Annotated[Path | None, CHECKPOINT] = None,
    windows: Annotated[int, WINDOWS] = 64,
    student: Annotated[Path | None, typer.Option(help="Checkpoint folder of a distilled generator.")] = None,
    many: Annotated[int, typer.Option(help="Steps of DDIM that distances are measured from.")] = 200,
    quick: Annotated[bool, quick("six windows and few steps")] = False,
) -> Iterator[Row]:
    """The teacher's cases, then the student's."""
    settings = Settings()
    teacher = load_generator(checkpoint or settings.weights)
    pupil = None if student is None else load_generator(student)
    held_out = open_windows(data, teacher.spec, QUICK if quick else windows, settings)
    yield from _rows(teacher, pupil, held_out, 4 if quick else many)


def cases() -> list[Case]:
    """The cases of the teacher."""
    low = PRESETS["fast"].guidance_low
    return [
        Case("ddim 50", PRESETS["reference"]),
        *(Case(name, PRESETS[name]) for name in ("fast", "draft")),
        Case("fast unguided", PRESETS["fast"], 1.0),
        *(Case(f"undistilled lcm {steps}", Preset("lcm", steps, low)) for steps in FEW),
    ]


def _rows(
    teacher: GeneratorNetwork, student: GeneratorNetwork | None, held_out: HeldOutDances, many: int
) -> Iterator[Row]:
    yield from rows_of("mocap", held_out.real)
    reference = Case(f"ddim {many}", Preset("ddim", many))
    far: Dances | None = None
    for case in [reference, *cases()]:
        far, rows = _scored(case, teacher, held_out, far)
        yield from rows
    if student is None:
        yield skipped("student", "no --student")
        return
    if student.spec.mean != teacher.spec.mean or student.spec.std != teacher.spec.std:
        raise InvalidInput("student", "has other normalisation statistics than the checkpoint")
    for steps in FEW:
        yield from _scored(Case(f"student lcm {steps}", Preset("lcm", steps), 1.0), student, held_out, far)[1]


def _scored(
    case: Case, network: GeneratorNetwork, held_out: HeldOutDances, far: Dances | None
) -> tuple[Dances, list[Row]]:
    """Rows of a case, and the dances that distances are measured from: its own if there are none yet."""
    say(case.name)
    asked = replace(held_out, way=case.way, guidance_scale=case.guidance_scale)
    dances, evaluations = danced(network, asked)
    far = dances if far is None else far
    rows = [
        Row(case.name, "evaluations", float(evaluations.sum()), "per window"),
        Row(case.name, "from many steps", apart(dances, far), "m"),
        *rows_of(case.name, asked.judged(dances)),
    ]
    return far, rows


if __name__ == "__main__":
    sys.exit(main())
