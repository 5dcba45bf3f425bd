"""`choreo evaluate`: kinematic scores of generated dances beside those of held-out mocap.

Each sample dances to the caption and the music of one held-out stretch, so both sides have the same make-up.
"""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from choreo.data.clip import Clip
from choreo.data.packs import is_validation, load_packs
from choreo.errors import InvalidInput
from choreo.evaluation.foot_skating import foot_skating_ratio
from choreo.evaluation.kinematics import bone_length_deviation, jerk, kinetic_energy
from choreo.motion.representation import decode
from choreo.motion.skeleton import FPS, L_FOOT, R_FOOT, WINDOW
from export.build import build_repository
from serving.engine import OnnxEngine
from serving.local import LocalStages
from serving.pipeline import Pipeline
from serving.request import Attachments, Job, make_job, parse_fields
from serving.settings import Settings

Positions = NDArray[np.floating]

METRICS: dict[str, Callable[[Positions], float]] = {
    "foot_skating_ratio": lambda p: foot_skating_ratio(p, FPS),
    "jerk_m_s3": lambda p: jerk(p, FPS),
    "kinetic_energy_m2_s2": lambda p: kinetic_energy(p, FPS),
    "bone_length_deviation": bone_length_deviation,
    "lowest_toe_m": lambda p: float(np.percentile(p[:, [L_FOOT, R_FOOT], 1].min(axis=1), 5)),
}


async def evaluate(data: Path, samples: int, num_steps: int, settings: Settings) -> list[dict[str, Any]]:
    """Rows `{"metric", "subject", "value", "ci95", "n"}` for subjects gt and generated (without retrieval).

    Raises:
        InvalidInput: no data pack, or nothing held out in it.
    """
    stretches = _stretches(load_packs(data), samples)
    if not stretches:
        raise InvalidInput("data", f"{data} holds no held-out clip of {WINDOW} frames")
    repository = build_repository(settings.weights, settings.model_repo)
    engine = OnnxEngine(repository.path, repository.spec, settings.threads)
    pipeline = Pipeline(LocalStages(engine, settings))
    real = [decode(clip.features[start : start + WINDOW]) for clip, start in stretches]
    generated = []
    try:
        for index in track(range(len(stretches)), "dancing", transient=True):
            clip, start = stretches[index]
            result = await pipeline.run(_job(clip, start, index, num_steps, settings))
            generated.append(result.motion.positions)
    finally:
        await engine.close()
    return [*_rows("gt", real), *_rows("generated", generated)]


def _stretches(clips: Iterable[Clip], count: int) -> list[tuple[Clip, int]]:
    """Windows of held-out clips, spread evenly over them."""
    found = [
        (clip, start)
        for clip in clips
        if is_validation(clip.group)
        for start in range(0, clip.num_frames - WINDOW + 1, WINDOW)
    ]
    picks = np.linspace(0, max(len(found) - 1, 0), min(count, len(found))).astype(int)
    return [found[i] for i in picks]


def _job(clip: Clip, start: int, index: int, num_steps: int, settings: Settings) -> Job:
    caption = clip.captions[index % len(clip.captions)].text if clip.captions else "a person dances"
    fields = {"text_prompt": caption, "seed": index, "use_rag": False, "num_steps": num_steps}
    job = make_job(parse_fields(fields | {"duration": WINDOW / FPS}), Attachments(), settings)
    music = None if clip.music is None else clip.music[start : start + WINDOW]
    return dataclasses.replace(job, features=music)


def _rows(subject: str, motions: list[Positions]) -> list[dict[str, Any]]:
    rows = []
    for name, metric in METRICS.items():
        values = np.array([metric(p) for p in motions])
        ci95 = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
        rows.append({"metric": name, "subject": subject, "value": float(values.mean()), "ci95": ci95, "n": len(values)})
    return rows
