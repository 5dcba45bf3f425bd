"""Pose VAEs: what a graph of the body is worth beside an MLP of equal size, on poses of the test recordings.

Both recipes are trained in the folder of `--runs`, unless they have been. A pose's error is the mean distance of its
joints, pelvis left out, from what its mean latents decode to; intervals are 95 % bootstraps over recordings.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from bench.command import DATA, benchmark, quick
from bench.report import Row
from choreo.data.clip import Clip
from choreo.data.datasets import open_dataset
from choreo.data.licences import Licences, licensed
from choreo.data.splits.split import TEST
from choreo.errors import InvalidInput
from choreo.files import atomic_write
from choreo.models.pose_vae import PoseVae, load_pose_vae, num_parameters
from choreo.motion.kinematics import fit, forward_kinematics
from choreo.motion.rotations import axis_angle, length, normalize, rotation_vector
from choreo.motion.skeleton import PARENTS
from choreo.reporting.panels import COLOURS, panels, svg
from choreo.shipped import recipe_file
from choreo.training.poses import STRIDE, errors_of, poses_of
from choreo.training.recipe import PoseRecipe, load_recipe
from choreo.training.run import train

RECIPES: Final = ("pose-graph", "pose-mlp")
PICTURE: Final = "pose_interpolation.svg"
FIGURES: Final = 7
"""Stick figures in a row, ends included."""
DRAWS: Final = 2000
Array = NDArray[np.float64]


@benchmark
def main(
    data: Annotated[Path, DATA],
    runs: Annotated[Path | None, typer.Option(help="Folder of the runs; omitted: they are not kept.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for a picture of interpolated poses.")] = None,
    quick: Annotated[bool, quick("six steps of training")] = False,
) -> Iterator[Row]:
    """Error and size of both, and the difference."""
    dataset = open_dataset(data)
    clips = licensed(list(dataset.clips(dataset.split().parts.get(TEST, ()))), Licences.CLEARED)
    if not clips:
        raise InvalidInput("data", "has no cleared recording in its test split")
    poses = _by_recording(clips)
    models: dict[str, PoseVae] = {}
    errors: dict[str, list[Array]] = {}
    with tempfile.TemporaryDirectory(prefix="choreo-bench-") as work:
        for name in RECIPES:
            models[name] = model = _trained(name, data, (runs or Path(work)) / name, quick)
            errors[name] = [errors_of(model, some) for some in poses]
            yield Row(name, "parameters", num_parameters(model), "")
            yield from _rows(name, "mpjpe", errors[name])
    yield Row("test", "poses", sum(map(len, poses)), "")
    yield Row("test", "recordings", len(poses), "")
    graph, mlp = (errors[name] for name in RECIPES)
    yield from _rows("graph - mlp", "difference", [a - b for a, b in zip(graph, mlp, strict=True)])
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
        atomic_write(report / PICTURE, picture(models, *_far_apart(np.concatenate(poses))).encode())


def resampled(errors: Sequence[Array], draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean over all poses, whose recordings are drawn with replacement."""
    sums, counts = np.array([e.sum() for e in errors]), np.array([len(e) for e in errors])
    rows = np.random.default_rng(seed).integers(len(errors), size=(draws, len(errors)))
    low, high = np.percentile(sums[rows].sum(axis=1) / counts[rows].sum(axis=1), (2.5, 97.5))
    return float(low), float(high)


def turned(first: NDArray[np.floating], last: NDArray[np.floating], steps: int) -> Array:
    """Poses (steps, 22, 3) from one (22, 3) to another, each joint's rotation on its shortest way at constant speed."""
    start, end = fit(np.stack([first, last])).local
    vector = rotation_vector(np.swapaxes(start, -1, -2) @ end)
    angles = length(vector) * np.linspace(0, 1, steps)[:, None]
    return forward_kinematics(np.zeros((steps, 3)), start @ axis_angle(normalize(vector), angles))


@torch.no_grad()
def picture(models: Mapping[str, PoseVae], first: NDArray[np.float32], last: NDArray[np.float32]) -> str:
    """SVG of the way from one pose (22, 3) to another in the latents of each model, and by rotations."""
    rows = {"rotations": turned(first, last, FIGURES)}
    for name, model in models.items():
        a, b = model.encode(torch.from_numpy(np.stack([first, last]))).mean
        t = torch.linspace(0, 1, FIGURES)[:, None, None]
        rows[name] = model.decode(a + t * (b - a)).double().numpy()
    figure, axes = panels(rows=len(rows), size=(8.0, 2.0))
    for axis, colour, (name, poses) in zip(axes, COLOURS, rows.items(), strict=False):
        for i, pose in enumerate(poses):
            # One line with a gap after each bone makes a small file.
            bones = np.stack([pose[list(PARENTS[1:])], pose[1:], np.full_like(pose[1:], np.nan)], axis=1).reshape(-1, 3)
            axis.plot(bones[:, 0] + 1.4 * i, bones[:, 1], color=colour, lw=1.5)
        axis.set_aspect("equal")
        axis.set_axis_off()
        axis.set_title(name, fontsize=9, loc="left")
    return svg(figure)


def _trained(name: str, data: Path, folder: Path, quick: bool) -> PoseVae:
    recipe = load_recipe(recipe_file(Path(name)))
    if not isinstance(recipe, PoseRecipe):
        raise InvalidInput("recipe", f"{name} is not that of a pose VAE")
    return load_pose_vae(train(recipe.smoke() if quick else recipe, data, folder))


def _by_recording(clips: Sequence[Clip]) -> list[NDArray[np.float32]]:
    """Poses of each recording or take, of all dancers in it."""
    groups: dict[str, list[NDArray[np.float32]]] = {}
    for clip in clips:
        groups.setdefault(clip.group, []).append(poses_of(clip, STRIDE))
    return [np.concatenate(some) for some in groups.values()]


def _rows(case: str, metric: str, errors: Sequence[Array]) -> Iterator[Row]:
    low, high = resampled(errors)
    yield Row(case, metric, round(float(np.concatenate(errors).mean()), 2), "mm")
    yield Row(case, f"{metric}, low", round(low, 2), "mm")
    yield Row(case, f"{metric}, high", round(high, 2), "mm")


def _far_apart(poses: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of the nine tenths of poses nearest to the mean, the farthest from it, and the one farthest from that."""
    order = np.argsort(((poses - poses.mean(axis=0)) ** 2).sum(axis=(1, 2)))
    usual = poses[order[: max(2, len(poses) * 9 // 10)]]
    return usual[-1], usual[np.argmax(((usual - usual[-1]) ** 2).sum(axis=(1, 2)))]


if __name__ == "__main__":
    sys.exit(main())
