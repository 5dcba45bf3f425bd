"""What the steps of a sampler are worth: scores on held-out windows by evaluations, beside many steps of DDIM.

`from many steps` is the mean distance of the joints from DDIM with that many steps, of the same noise. A student is a
checkpoint of `choreo train recipes/lcm.yaml`, which has guidance within and is asked without; `undistilled` is what
consistency sampling makes of the checkpoint that it learned from.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch

from bench.held_out import GUIDANCE, Dances, apart, open_windows, parser, rows_of
from bench.report import Row, say, show, skipped
from choreo.diffusion.presets import PRESETS, Preset
from choreo.errors import ChoreoError, InvalidInput
from choreo.generators.checkpoint import Generator, load_generator
from choreo.training.held_out_dances import HeldOutDances
from serving.settings import Settings

MANY: Final = 200
FEW: Final = (1, 2, 4)
"""Steps of consistency sampling."""


@dataclass(frozen=True)
class Case:
    """A way to dance."""

    name: str
    way: Preset
    guidance_scale: float = GUIDANCE


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 2 on bad input, 1 where something is missing."""
    given = sys.argv[1:] if argv is None else list(argv)
    options = parser("few_steps", __doc__)
    options.add_argument("--student", type=Path, help="checkpoint folder of a distilled generator; omitted: none")
    options.add_argument("--many", type=int, default=MANY, help="steps of DDIM that distances are taken from")
    args = options.parse_args(given)
    settings = Settings()
    try:
        teacher = load_generator(args.checkpoint or settings.weights)
        student = None if args.student is None else load_generator(args.student)
        held_out = open_windows(args.data, teacher.spec, 6 if args.quick else args.windows, settings)
        rows = list(_rows(teacher, student, held_out, 4 if args.quick else args.many))
    except ChoreoError as error:
        say(f"choreo: {error}")
        return 2 if isinstance(error, InvalidInput) else 1
    show("few_steps", given, rows, args.json)
    return 0


def cases() -> list[Case]:
    """What the teacher is asked for."""
    low = PRESETS["fast"].guidance_low
    return [
        Case("ddim 50", PRESETS["reference"]),
        *(Case(name, PRESETS[name]) for name in ("fast", "draft")),
        Case("fast unguided", PRESETS["fast"], 1.0),
        *(Case(f"undistilled lcm {steps}", Preset("lcm", steps, low)) for steps in FEW),
    ]


def _rows(teacher: Generator, student: Generator | None, held_out: HeldOutDances, many: int) -> Iterator[Row]:
    yield from rows_of("mocap", held_out.real)
    reference = Case(f"ddim {many}", Preset("ddim", many))
    far: Dances | None = None
    for case in [reference, *cases()]:
        far, rows = _danced(case, teacher, held_out, far)
        yield from rows
    if student is None:
        yield skipped("student", "no --student")
        return
    if student.spec.mean != teacher.spec.mean or student.spec.std != teacher.spec.std:
        raise InvalidInput("student", "has other statistics than the checkpoint")
    for steps in FEW:
        yield from _danced(Case(f"student lcm {steps}", Preset("lcm", steps), 1.0), student, held_out, far)[1]


def _danced(case: Case, generator: Generator, held_out: HeldOutDances, far: Dances | None) -> tuple[Dances, list[Row]]:
    """Rows of a case, and the dances that distances are taken from: its own where there are none yet."""
    say(case.name)
    asked = replace(held_out, way=case.way, guidance_scale=case.guidance_scale)
    with torch.inference_mode():
        dances = asked.dance(generator)
    far = dances if far is None else far
    rows = [
        Row(case.name, "evaluations", asked.evaluations, "per window"),
        Row(case.name, "from many steps", apart(dances, far), "m"),
        *rows_of(case.name, asked.judged(dances)),
    ]
    return far, rows


if __name__ == "__main__":
    sys.exit(main())
