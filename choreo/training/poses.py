"""The training of a pose VAE, as a task of `choreo.training.loop.TrainingRun`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils.data import Dataset

from choreo.data.clip import Clip
from choreo.errors import InvalidArtifact, InvalidInput
from choreo.models.pose_vae import PoseVae, save_pose_vae
from choreo.motion.kinematics import heading
from choreo.motion.rotations import yaw
from choreo.motion.skeleton import PELVIS
from choreo.training.best import Best
from choreo.training.ema import Ema
from choreo.training.loop import Task, TrainingRun, num_windows
from choreo.training.recipe import PoseRecipe

STRIDE: Final = 10
"""Frames between the held-out poses that are scored."""


def poses_of(clip: Clip, stride: int = 1) -> NDArray[np.float32]:
    """Every stride-th pose (N, 22, 3) of a clip, relative to the pelvis and turned to face +z, metres."""
    positions = clip.positions()[::stride]
    turn = yaw(-heading(positions))
    relative = positions - positions[:, [PELVIS]]
    return np.einsum("nij,nkj->nki", turn, relative).astype(np.float32)


@torch.no_grad()
def errors_of(model: PoseVae, poses: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean distance (N,) of joints, pelvis left out, of poses (N, 22, 3) and what their mean latents decode to, mm."""
    given = torch.from_numpy(poses).to(next(model.parameters()).device)
    made = model.decode(model.encode(given).mean)
    return np.asarray((made - given)[:, 1:].norm(dim=2).mean(dim=1).double().cpu().numpy() * 1000)


class Poses(Dataset[dict[str, NDArray[np.float32]]]):
    """`length` random poses of the clips, each a function of (seed, index) alone."""

    def __init__(self, clips: Sequence[Clip], length: int, seed: int = 0) -> None:
        self.poses = np.concatenate([poses_of(clip) for clip in clips])
        self.length, self.seed = length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, NDArray[np.float32]]:
        """`positions` (22, 3)."""
        rng = np.random.default_rng((self.seed, index))
        return {"positions": self.poses[int(rng.integers(len(self.poses)))]}


class PoseLoss(nn.Module):
    """A pose VAE with its losses."""

    def __init__(self, recipe: PoseRecipe) -> None:
        super().__init__()
        self.kl_weight = recipe.kl_weight
        self.vae = PoseVae(recipe.network)

    def forward(self, positions: Tensor) -> dict[str, Tensor]:
        """Loss terms of poses (B, 22, 3), and their weighted `total`."""
        posterior = self.vae.encode(positions)
        made = self.vae.decode(posterior.sample())
        l1, kl = (made - positions)[:, 1:].abs().mean(), posterior.divergence().mean()
        return {"l1": l1, "kl": kl, "total": l1 + self.kl_weight * kl}


class PoseTask(Task):
    """A pose VAE; the weights with the least error on held-out poses are kept."""

    shown = ("mpjpe_mm",)

    def __init__(self, recipe: PoseRecipe, windows: Dataset, held_out: NDArray[np.float32] | None) -> None:
        """A network with initial weights; `held_out` poses (N, 22, 3) are scored."""
        self.recipe, self.name, self.options = recipe, recipe.name, recipe.train
        self.windows, self.held_out = windows, held_out
        torch.manual_seed(recipe.train.seed)
        self.network = PoseLoss(recipe)
        self.averaged = self.network.vae
        self.best = Best("mpjpe_mm", lambda error: error)

    def begin(self, accelerator: Accelerator, ema: Ema) -> None:
        """Note the device."""
        self._device = accelerator.device

    def seed_of(self, index: int, process: int) -> int:
        """A hash of the recipe's seed, the batch and the process."""
        return hash((self.options.seed, index, process)) & 0x7FFFFFFF

    def loss(self, batch: dict[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
        """Loss terms of a batch of `Poses`."""
        return model(batch["positions"])

    def validate(self, weights: dict[str, Tensor]) -> dict[str, float] | None:
        """Mean error of the averaged weights on held-out poses, mm."""
        if self.held_out is None:
            return None
        model = PoseVae(self.recipe.network).to(self._device)
        model.load_state_dict(weights)
        return {self.best.by: float(errors_of(model.eval(), self.held_out).mean())}

    def save(self, folder: Path, weights: dict[str, Tensor]) -> None:
        """Write a checkpoint folder."""
        save_pose_vae(folder, self.recipe.network, weights)

    def description(self) -> dict[str, str]:
        """The recipe as JSON."""
        return {"recipe": self.recipe.model_dump_json()}

    def check(self, state: Mapping[str, Any], path: Path) -> None:
        """Refuse the checkpoint of another architecture."""
        try:
            saved = PoseRecipe.model_validate_json(state["recipe"])
        except (KeyError, ValidationError) as error:
            raise InvalidArtifact(f"{path} is not a checkpoint of a pose VAE: {error}") from error
        if saved.network != self.recipe.network:
            raise InvalidArtifact(f"{path} was trained with another architecture; choose another --out")


def train_poses(
    recipe: PoseRecipe, training: Sequence[Clip], held_out: Sequence[Clip], folder: Path, until: int | None = None
) -> Path:
    """Run or resume `recipe` on clips; returns the folder of the best averaged weights.

    Args:
        recipe: what to train, and how.
        training: clips to train on.
        held_out: clips whose poses are scored; without any the newest weights are kept.
        folder: of the run.
        until: step to stop after.

    Raises:
        InvalidInput: there is no clip to train on.
        InvalidArtifact: the folder holds a run of another architecture.
        NotSaved: the last save failed.
    """
    if not training:
        raise InvalidInput("data", "holds no clip to train on")
    windows = Poses(training, num_windows(recipe.train), recipe.train.seed)
    scored = np.concatenate([poses_of(clip, STRIDE) for clip in held_out]) if held_out else None
    return TrainingRun(PoseTask(recipe, windows, scored), folder).run(until)
