"""Held-out windows that samplers are compared on: those that the shipped recipe validates its training with.

Scores are of the dances as they leave the sampler, before post-processing, beside all windows of the held-out side.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.report import Row
from choreo.data.synthetic.songs import HELD_OUT_SEED, loops
from choreo.data.windows.windows import Windows, caption_table
from choreo.diffusion.presets import PRESETS
from choreo.errors import InvalidInput
from choreo.generators.spec import ModelSpec
from choreo.text.encoders import text_encoder
from choreo.training.held_out_dances import CONDITIONS, HeldOutDances
from choreo.training.recipe import DataConfig
from choreo.training.run import VALIDATION_WINDOWS, augmented
from choreo.training.sides import read_sides
from retrieval.prior.training_priors import from_library
from serving.settings import Settings

Dances = Sequence[NDArray[np.float64]]

DATA: Final = DataConfig(paired_per_piece=2, synthetic_dances=66)
"""What recipes/demo.yaml makes of the recordings."""
SEED: Final = 2
"""Of the choice of windows, as `choreo.training.run` has it."""
GUIDANCE: Final = 2.5
METRICS: Final = ("fid_k", "dist_k", "fid_g", "kinetic_energy_m2_s2", "jerk_m_s3")


def open_windows(data: Path, spec: ModelSpec, count: int, settings: Settings) -> HeldOutDances:
    """The held-out side of a data set as the shipped recipe has it, of which `count` windows are danced to.

    Raises:
        InvalidInput: no data set, or nothing held out in it; too many windows.
        InvalidArtifact: no phrase library.
    """
    if not 2 <= count <= VALIDATION_WINDOWS:
        raise InvalidInput("windows", f"must be between 2 and {VALIDATION_WINDOWS}, got {count}")
    clips = augmented(read_sides(data).held_out, DATA, loops(data / "audio", True), HELD_OUT_SEED)
    clips = from_library(settings.phrases, spec.text_encoder)(clips)
    texts = caption_table(clips, text_encoder(spec.text_encoder))
    windows = Windows(clips, texts, VALIDATION_WINDOWS, SEED, CONDITIONS, spec.music_dim)
    return HeldOutDances.of(spec, windows, len(windows), count, PRESETS["reference"], GUIDANCE)


def rows_of(case: str, values: dict[str, float]) -> Iterator[Row]:
    """The metrics that say what steps are worth."""
    yield from (Row(case, metric, values[metric], "") for metric in METRICS if metric in values)


def apart(one: Dances, other: Dances) -> float:
    """Mean distance of joints in metres, frame by frame."""
    return float(np.mean([np.linalg.norm(a - b, axis=-1).mean() for a, b in zip(one, other, strict=True)]))


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """Arguments that these benchmarks share."""
    made = argparse.ArgumentParser(prog=f"choreo bench {name}", description=description.partition("\n")[0])
    made.add_argument("--data", type=Path, required=True, help="data set, whose held-out side is danced to")
    made.add_argument("--checkpoint", type=Path, help="folder; omitted: the shipped one")
    made.add_argument("--windows", type=int, default=64, help="windows that are danced to")
    made.add_argument("--quick", action="store_true", help="six windows and few steps: to see that all works")
    made.add_argument("--json", action="store_true", help="print one JSON document")
    return made
