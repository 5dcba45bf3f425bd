"""Held-out windows for comparing samplers: those that the shipped recipe validates its training on.

Scores are of dances as they leave the sampler, before post-processing, against all windows of the held-out split.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import typer
from numpy.typing import NDArray

from bench.report import Row
from choreo.data.synthetic.songs import HELD_OUT_SEED, loops
from choreo.data.windows.windows import Windows, caption_table
from choreo.diffusion.presets import PRESETS
from choreo.errors import InvalidInput
from choreo.generators.network import GeneratorNetwork
from choreo.generators.spec import GeneratorSpec
from choreo.generators.windowed import DENOISER
from choreo.text.encoders import text_encoder
from choreo.training.held_out_dances import CONDITIONS, HeldOutDances
from choreo.training.options import DataConfig
from choreo.training.run import augmented
from choreo.training.splits import read_splits
from choreo.training.windowed import VALIDATION_WINDOWS, rhythm_channels
from retrieval.prior.training_priors import from_library
from serving.settings import Settings

Dances = Sequence[NDArray[np.float64]]

RECIPE: Final = DataConfig(paired_per_piece=2, synthetic_dances=66)
"""Augmentation of recipes/cleared.yaml."""
SEED: Final = 2
"""Seed of the choice of windows, as in `choreo.training.run`."""
GUIDANCE: Final = 2.5
QUICK: Final = 6
"""Windows of a short run."""
WINDOWS: Final = typer.Option(help="Windows that are danced to.")
METRICS: Final = ("fid_k", "dist_k", "fid_g", "kinetic_energy_m2_s2", "jerk_m_s3")


def open_windows(data: Path, spec: GeneratorSpec, count: int, settings: Settings) -> HeldOutDances:
    """The held-out split of a data set as in the shipped recipe, of which `count` windows are danced to.

    Raises:
        InvalidInput: the data set is missing or has no held-out split, or there are too many windows.
        InvalidArtifact: the phrase library is missing.
    """
    if not 2 <= count <= VALIDATION_WINDOWS:
        raise InvalidInput("windows", f"must be between 2 and {VALIDATION_WINDOWS}, got {count}")
    clips = augmented(read_splits(data).held_out, RECIPE, loops(data / "audio", True), HELD_OUT_SEED)
    clips = from_library(settings.phrases, spec.text_encoder)(clips)
    texts = caption_table(clips, text_encoder(spec.text_encoder))
    windows = Windows(
        clips, texts, VALIDATION_WINDOWS, SEED, CONDITIONS, spec.music_dim, rhythm_channels=rhythm_channels(spec)
    )
    return HeldOutDances.of(spec, windows, len(windows), count, PRESETS["reference"], GUIDANCE)


def danced(network: GeneratorNetwork, asked: HeldOutDances) -> tuple[Dances, NDArray[np.float64]]:
    """The dances, and the evaluations (S,) of the denoiser per window at every step."""
    rows: list[int] = []
    counter = network.graphs()[DENOISER].register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    try:
        dances = asked.dance(network)
    finally:
        counter.remove()
    return dances, np.array(rows) / len(dances)


def rows_of(case: str, values: dict[str, float]) -> Iterator[Row]:
    """Rows of the metrics in `METRICS`."""
    yield from (Row(case, metric, values[metric], "") for metric in METRICS if metric in values)


def apart(one: Dances, other: Dances) -> float:
    """Mean distance between joints of the same frame, metres."""
    return float(np.mean([np.linalg.norm(a - b, axis=-1).mean() for a, b in zip(one, other, strict=True)]))
