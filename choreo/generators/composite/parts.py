"""What the first two parts of a training run have in common: a part of the generator on windows of its own."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from choreo.errors import InvalidArtifact
from choreo.generators.checkpoint import CONFIG, WEIGHTS, save_generator
from choreo.generators.composite.config import CompositeConfig
from choreo.generators.composite.recipe import CompositeRecipe
from choreo.training.best import best_generator
from choreo.training.ema import Ema
from choreo.training.loop import Task, loader
from choreo.training.normalized import Batch, normalized
from choreo.training.options import TrainConfig
from choreo.training.resuming import refuse_another_run

Part = TypeVar("Part", bound=nn.Module)


class PartTask(Task):
    """A part of the generator that learns from windows, and is scored by its loss on held-out ones."""

    depends_on: ClassVar[tuple[str, ...]]
    """Fields of the recipe that the weights depend on."""
    part: ClassVar[str]
    """What it is called in messages."""

    def __init__(
        self,
        recipe: CompositeRecipe,
        config: CompositeConfig,
        options: TrainConfig,
        windows: Dataset,
        validation: Dataset | None,
    ) -> None:
        """A part with initial weights.

        Args:
            recipe: of the run.
            config: of the generator.
            options: of this part's optimisation.
            windows: all windows of this part, in order.
            validation: held-out windows.
        """
        self.recipe, self.config, self.options = recipe, config, options
        self.name = f"{recipe.name} {self.part}"
        self.windows, self.validation = windows, validation
        torch.manual_seed(options.seed)
        self.network = self.averaged = self.make()
        self.best = best_generator(options.best_by, {})

    @abstractmethod
    def make(self) -> nn.Module:
        """The part with new weights."""

    @abstractmethod
    def terms(self, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
        """Terms of the loss of a normalised batch, `total` among them."""

    def begin(self, accelerator: Accelerator, ema: Ema) -> None:
        """Put the statistics on the network's device."""
        self._accelerator, spec = accelerator, self.config.spec
        self._mean, self._std = (
            torch.tensor(v, dtype=torch.float32, device=accelerator.device) for v in (spec.mean, spec.std)
        )

    def seed_of(self, index: int, process: int) -> int:
        """A hash of the seed, the micro-batch and the process."""
        return hash((self.options.seed, index, process)) & 0x7FFFFFFF

    def loss(self, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
        """Terms of the loss of a batch of `Windows`."""
        return self.terms(normalized(batch, self._mean, self._std), model)

    def validate(self, weights: dict[str, Tensor]) -> dict[str, float] | None:
        """Terms of the loss on held-out windows, and what else the part is measured by."""
        if self.validation is None:
            return None
        candidate = self.make().to(self._accelerator.device).eval()
        candidate.load_state_dict(weights)
        torch.manual_seed(self.options.seed)
        sums: dict[str, float] = {}
        batches = loader(self.validation, self.options, self._accelerator, drop_last=False)
        measured: list[Batch] = []
        for batch in batches:
            batch = {k: v.to(self._accelerator.device) for k, v in batch.items()}
            measured.append(normalized(batch, self._mean, self._std))
            for name, value in self.terms(measured[-1], candidate).items():
                sums[f"loss/{name}"] = sums.get(f"loss/{name}", 0.0) + float(value) / len(batches)
        return sums | self.measures(measured, candidate)

    def measures(self, batches: Sequence[Batch], candidate: nn.Module) -> dict[str, float]:
        """What else a part with averaged weights is measured by, on normalised batches."""
        return {}

    def save(self, folder: Path, weights: dict[str, Tensor]) -> None:
        """Write the part's weights with the configuration of the generator as it is known by now."""
        save_generator(folder, self.config, weights)

    def description(self) -> dict[str, str]:
        """Recipe and configuration as JSON."""
        return {"recipe": self.recipe.model_dump_json(), "config": self.config.model_dump_json()}

    def check(self, state: Mapping[str, Any], path: Path) -> None:
        """Refuse the checkpoint of another part, or of one trained on other data."""
        refuse_another_run(state, self.recipe, self.config, path, self.depends_on)
        refuse_other_tokens(state, self.config, path)


def refuse_other_tokens(state: Mapping[str, Any], config: CompositeConfig, path: Path) -> None:
    """Check that a checkpoint is of the tokeniser that the run has now; one that `refuse_another_run` has passed.

    Raises:
        InvalidArtifact: it is of another codebook.
    """
    before = CompositeConfig.model_validate_json(state["config"]).codebook
    if before != config.codebook:
        raise InvalidArtifact(
            f"{path} was trained on tokens of the codebook {before[:12] or 'of no tokeniser'}, and the tokeniser of "
            f"this run has the codebook {config.codebook[:12]}; choose another --out"
        )


def load_part(folder: Path, part: Part, name: str) -> Part:
    """A part with the weights that a `PartTask` has saved, in evaluation mode.

    Raises:
        InvalidArtifact: they are missing, broken, or of other sizes.
    """
    try:
        part.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InvalidArtifact(f"{folder} holds no usable {name}: {error}") from error
    return part.eval().requires_grad_(False)


def part_config(folder: Path) -> CompositeConfig:
    """The configuration that a `PartTask` has saved with its weights.

    Raises:
        InvalidArtifact: it is missing or broken.
    """
    try:
        return CompositeConfig.model_validate_json((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise InvalidArtifact(f"{folder / CONFIG} is not usable: {error}") from error
