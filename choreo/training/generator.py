"""The training of a generator, as a task of `choreo.training.loop.TrainingRun`."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from choreo.errors import InvalidInput
from choreo.generators.checkpoint import save_generator
from choreo.generators.config import GeneratorConfig
from choreo.generators.network import GeneratorNetwork
from choreo.generators.registry import generator_class
from choreo.generators.spec import GeneratorSpec
from choreo.motion.representation import representation
from choreo.training.best import LOSS, Best, best_generator
from choreo.training.ema import Ema
from choreo.training.held_out_dances import HeldOutDances
from choreo.training.loop import Task, loader
from choreo.training.losses import MotionLoss
from choreo.training.noising import Noising
from choreo.training.normalized import Batch, normalized
from choreo.training.objectives import Denoising, Objective
from choreo.training.options import TrainConfig
from choreo.training.recipe import GeneratorRecipe
from choreo.training.resuming import refuse_another_run

FITTED_WINDOWS: Final = 1024
"""Windows that a network is fitted to before training."""


class GeneratorTask(Task):
    """A generator that learns to denoise windows."""

    shown = ("loss/total", "fid_k", "dist_k", "foot_skating_ratio", "jerk_m_s3", "beat_alignment_score")

    def __init__(
        self,
        recipe: GeneratorRecipe,
        config: GeneratorConfig,
        windows: Dataset,
        validation: Dataset | None,
        dances: HeldOutDances | None = None,
    ) -> None:
        """A generator with initial weights.

        Args:
            recipe: of the run.
            config: of the generator.
            windows: all windows of the run, in order.
            validation: held-out windows, whose loss is measured.
            dances: held-out windows that are danced to.

        Raises:
            InvalidInput: the dances do not have the value that the recipe selects weights by.
        """
        self.recipe, self.config, self.name, self.options = recipe, config, recipe.name, recipe.train
        self.windows, self.validation, self.dances = windows, validation, dances
        torch.manual_seed(recipe.train.seed)
        self.network: GeneratorNetwork = generator_class(config.spec.family).network(config)
        self.averaged = self.network
        self._initialise()
        self.best = _best(recipe.train, dances)

    def begin(self, accelerator: Accelerator, ema: Ema) -> None:
        """Build the objective on the network's device."""
        self._accelerator = accelerator
        spec, device = self.config.spec, accelerator.device
        self._mean, self._std = (torch.tensor(v, dtype=torch.float32, device=device) for v in (spec.mean, spec.std))
        self._objective = self._make_objective(Noising(self.network), self._motion_loss(), ema)

    def seed_of(self, index: int, process: int) -> int:
        """A hash of the recipe's seed, the micro-batch and the process."""
        return hash((self.options.seed, index, process)) & 0x7FFFFFFF

    def loss(self, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
        """Terms of the objective for a batch of `Windows`."""
        return self._objective(normalized(batch, self._mean, self._std), model)

    def validate(self, weights: dict[str, Tensor]) -> dict[str, float] | None:
        """Scores of averaged weights on held-out windows.

        `loss/...` are the loss terms over the validation windows at fixed timesteps and noise; the others are scores of
        dances (`HeldOutDances.scores`), if any are made.
        """
        if self.validation is None:
            return None
        self._candidate.load_state_dict(weights)
        torch.manual_seed(self.options.seed)
        sums: dict[str, float] = {}
        batches = loader(self.validation, self.options, self._accelerator, drop_last=False)
        with self._accelerator.autocast():
            for batch in batches:
                batch = {k: v.to(self._accelerator.device) for k, v in batch.items()}
                for name, value in self.loss(batch, self._candidate).items():
                    sums[f"loss/{name}"] = sums.get(f"loss/{name}", 0.0) + float(value) / len(batches)
        return sums | (self.dances.scores(self._candidate) if self.dances is not None else {})

    def save(self, folder: Path, weights: dict[str, Tensor]) -> None:
        """Write a checkpoint folder of the generator."""
        save_generator(folder, self.config, weights)

    def description(self) -> dict[str, str]:
        """Recipe and configuration as JSON."""
        return {"recipe": self.recipe.model_dump_json(), "config": self.config.model_dump_json()}

    def check(self, state: Mapping[str, Any], path: Path) -> None:
        """Refuse the checkpoint of another model, or of one trained on other data."""
        refuse_another_run(state, self.recipe, self.config, path)

    @cached_property
    def _candidate(self) -> GeneratorNetwork:
        """A generator in which averaged weights are scored."""
        return generator_class(self.config.spec.family).network(self.config).to(self._accelerator.device).eval()

    def _initialise(self) -> None:
        """Take from the windows what is not learned by gradients."""
        self.network.fit(whole_windows(self.windows, self.config.spec))

    def _make_objective(self, noising: Noising, loss: MotionLoss, ema: Ema) -> Objective:
        """What is asked of a batch."""
        return Denoising(noising, loss)

    def _motion_loss(self, huber: float | None = None) -> MotionLoss:
        """The recipe's loss on the network's device; with `huber` errors beyond that width count by their size."""
        motion = representation(self.config.spec.representation)
        loss = MotionLoss(self.recipe.losses, self._mean, self._std, huber, motion)
        return loss.to(self._accelerator.device)


def whole_windows(windows: Dataset, spec: GeneratorSpec) -> NDArray[np.float32]:
    """Normalised motion (N, T, C) of the first windows, without those that are padded if possible."""
    count = min(FITTED_WINDOWS, len(windows))  # type: ignore[arg-type]
    first = [windows[i] for i in range(count)]
    full = [w for w in first if w["frame_mask"].all()] or first
    return spec.normalize(np.stack([w["x0"] for w in full]))


def _best(options: TrainConfig, dances: HeldOutDances | None) -> Best:
    """Selection of weights by the recipe's value, or by the loss where no dances are made.

    Raises:
        InvalidInput: the dances do not have the value that the recipe asks for.
    """
    by = options.best_by
    if by.startswith("loss/") or dances is None:
        return best_generator(by if by.startswith("loss/") else LOSS, {})
    if by not in dances.real:
        raise InvalidInput(
            "train.best_by", f"is {by}, which held-out dances do not have here; they have {', '.join(dances.real)}"
        )
    return best_generator(by, dances.real)
