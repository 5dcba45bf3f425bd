"""Ablations of generation: prior, guidance, steps, choice among samples and each step of finishing, one at a time.

Every case dances to the same held-out stretches with the same seeds as `choreo evaluate`; the reference of distances is
the training split. `prior of mocap` retrieves from a library of the training recordings instead of the bundled one.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from bench.command import CHECKPOINT, DATA, benchmark, quick
from bench.report import Row
from choreo.command_line import say
from choreo.generators.checkpoint import read_config
from choreo.music.feature_cache import training_encoder
from choreo.text.encoders import text_encoder
from research.prior_quality import build_training_library
from serving.evaluation.dancers import DanceOptions, Dancer, in_process
from serving.evaluation.harness import EvaluationRequest, Scene, all_dances, open_scene, rows_of_dances
from serving.settings import Settings

BASE: Final = DanceOptions()
CASES: Final = {
    "as shipped": BASE,
    "no prior": replace(BASE, use_rag=False),
    "guidance 1": replace(BASE, guidance_scale=1.0),
    "guidance 1.5": replace(BASE, guidance_scale=1.5),
    "guidance 4": replace(BASE, guidance_scale=4.0),
    **{
        f"music guidance {scale:g}": replace(BASE, text_guidance=2.5, music_guidance=scale) for scale in (1.5, 2.5, 4.0)
    },
    "10 steps": replace(BASE, num_steps=10),
    "20 steps": replace(BASE, num_steps=20),
    "fast": replace(BASE, preset="fast"),
    "draft": replace(BASE, preset="draft"),
    "best of 4": replace(BASE, changes={"num_samples": 4}),
    "no smoothing": replace(BASE, changes={"smooth": False}),
    "no foot lock": replace(BASE, changes={"foot_lock": False}),
    "no pauses on beats": replace(BASE, changes={"on_beat": False}),
    "no post-processing": replace(BASE, finished=False),
}
OF_MOCAP: Final = "prior of mocap"
METRICS: Final = (
    "foot_skating_ratio", "foot_slide_mm", "float_percent", "jerk_m_s3", "dynamic_degree_m_s", "kinetic_energy_m2_s2",
    "bone_length_deviation", "beat_alignment_score",
    "fid_k", "dist_k", "fid_g", "dist_g", "fd_embedding", "r_precision_top3", "mm_distance", "multimodality",
)  # fmt: skip


@benchmark
def main(
    data: Annotated[Path, DATA],
    checkpoint: Annotated[Path | None, CHECKPOINT] = None,
    samples: Annotated[int, typer.Option(help="Stretches to dance to.")] = 48,
    replications: Annotated[int, typer.Option(help="Replications with other seeds.")] = 1,
    cases: Annotated[str, typer.Option(help="Cases, separated by commas.")] = ",".join([*CASES, OF_MOCAP]),
    quick: Annotated[bool, quick("six stretches")] = False,
) -> Iterator[Row]:
    """All metrics of every case."""
    settings = Settings()
    weights, wanted = checkpoint or settings.weights, cases.split(",")
    encoder = training_encoder(read_config(weights).spec.music_encoder)
    scene = open_scene(EvaluationRequest(data, samples=6 if quick else samples), settings, encoder)
    shipped = {name: options for name, options in CASES.items() if name in wanted}
    yield from asyncio.run(_cases(shipped, weights, settings.phrases, settings, scene, replications))
    if OF_MOCAP in wanted:
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "library"
            build_training_library(data, library, text_encoder("minilm"))
            yield from asyncio.run(_cases({OF_MOCAP: BASE}, weights, library, settings, scene, replications))


async def _cases(
    cases: dict[str, DanceOptions], weights: Path, phrases: Path, settings: Settings, scene: Scene, replications: int
) -> list[Row]:
    rows: list[Row] = []
    async with in_process(weights, phrases, settings) as dancer:
        for name, options in cases.items():
            say(name)
            rows += await _case(name, dancer, options, scene, replications)
    return rows


async def _case(name: str, dancer: Dancer, options: DanceOptions, scene: Scene, replications: int) -> list[Row]:
    dances = [await all_dances(dancer, scene.judge.stretches, options, r, name) for r in range(replications)]
    found = {row["metric"]: row for row in rows_of_dances(scene, dances) if row["subject"] == "generated"}
    rows = []
    for metric in METRICS:
        if metric in found:
            rows.append(Row(name, metric, found[metric]["value"], "mean"))
            half = found[metric]["ci95"]
            rows += [] if half is None else [Row(name, f"{metric}_ci95", half, "half width")]
    return rows


if __name__ == "__main__":
    sys.exit(main())
