"""What each part of a dance's making is worth: prior, guidance, steps and post-processing, one changed at a time.

Every case dances to the same held-out stretches from the same seeds as `choreo evaluate`; the reference is the
training side. `prior of mocap` retrieves from a library of the training recordings in place of the bundled one.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.prior_quality import build_training_library
from bench.report import Row, say, show
from choreo.text.encoders import text_encoder
from serving.evaluation.dancers import DanceOptions, Dancer, in_process
from serving.evaluation.harness import Scene, all_dances, open_scene, rows_of_dances
from serving.settings import Settings

BASE: Final = DanceOptions()
CASES: Final = {
    "as shipped": BASE,
    "no prior": replace(BASE, use_rag=False),
    "guidance 1": replace(BASE, guidance_scale=1.0),
    "guidance 1.5": replace(BASE, guidance_scale=1.5),
    "guidance 4": replace(BASE, guidance_scale=4.0),
    "10 steps": replace(BASE, num_steps=10),
    "20 steps": replace(BASE, num_steps=20),
    "fast": replace(BASE, preset="fast"),
    "draft": replace(BASE, preset="draft"),
    "no post-processing": replace(BASE, finished=False),
}
OF_MOCAP: Final = "prior of mocap"
METRICS: Final = (
    "foot_skating_ratio", "jerk_m_s3", "kinetic_energy_m2_s2", "bone_length_deviation", "beat_alignment_score",
    "fid_k", "dist_k", "fid_g", "dist_g", "fd_embedding", "r_precision_top3", "mm_distance", "multimodality",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="bench.ablations", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data pack")
    parser.add_argument("--checkpoint", type=Path, help="folder; default: the shipped one")
    parser.add_argument("--samples", type=int, default=48, help="stretches to dance to")
    parser.add_argument("--replications", type=int, default=1, help="times to do so")
    parser.add_argument("--cases", default=",".join([*CASES, OF_MOCAP]), help="which, between commas")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--quick", action="store_true", help="six stretches")
    given = parser.parse_args(argv)
    rows = asyncio.run(_rows(given))
    show("ablations", sys.argv[1:] if argv is None else argv, rows, given.json)
    return 0


async def _rows(given: argparse.Namespace) -> list[Row]:
    settings = Settings()
    checkpoint = given.checkpoint or settings.weights
    scene = open_scene(given.data, 6 if given.quick else given.samples, settings)
    rows: list[Row] = []
    wanted = given.cases.split(",")
    async with in_process(checkpoint, settings.phrases, settings) as dancer:
        for name, options in CASES.items():
            if name in wanted:
                say(name)
                rows += await _case(name, dancer, options, scene, given.replications)
    if OF_MOCAP in wanted:
        say(OF_MOCAP)
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "library"
            build_training_library(given.data, library, text_encoder("minilm"))
            async with in_process(checkpoint, library, settings) as dancer:
                rows += await _case(OF_MOCAP, dancer, BASE, scene, given.replications)
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
