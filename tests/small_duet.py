"""Duet generators small enough for every test, and couples to train and to lead them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from choreo.data.couple import Couple
from choreo.data.couples import CoupleSplits, made_couples
from choreo.generators.checkpoint import save_generator
from choreo.generators.duet.config import DuetNetworkConfig
from choreo.generators.duet.model import DuetNetwork
from choreo.generators.duet.recipe import CoupleVariations, DuetRecipe
from choreo.generators.duet.training import DuetTask
from choreo.training.options import TrainConfig


def couples() -> list[Couple]:
    return made_couples(3, seconds=4.0)


def small_sizes(kind: str = "vae", **changes: Any) -> DuetNetworkConfig:
    sizes = {
        "kind": kind, "width": 16, "heads": 2, "latent": 4, "units": 8, "layers": 2, "feed_forward": 16, "frames": 16,
        "look_ahead": 3, "dropout": 0.0,
    }  # fmt: skip
    return DuetNetworkConfig.model_validate(sizes | changes)


def duet_recipe(kind: str = "vae", **train: Any) -> DuetRecipe:
    options = {
        "max_steps": 4, "batch_size": 2, "warmup_steps": 1, "save_every": 2, "log_every": 1, "validate_every": 2,
        "tracker": "none", "validation_dances": 0, "best_by": "loss/total",
    }  # fmt: skip
    return DuetRecipe(
        name="small-duet",
        network=small_sizes(kind),
        no_input_prob=0.0,
        variations=CoupleVariations(swap=0.5, tempos=(1.0,), own=1),
        train=TrainConfig.model_validate(options | train),
    )


def duet_data() -> CoupleSplits:
    both = couples()
    return CoupleSplits({"train": tuple(both[:2]), "val": tuple(both[2:])})


def small_duet(kind: str = "vae", seed: int = 0, std: float = 0.2) -> DuetNetwork:
    """Weights have noise everywhere, also where training begins with zeros."""
    task = DuetTask(duet_recipe(kind), couples()[:2], [])
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in task.duet.parameters():
            parameter.add_(torch.randn_like(parameter) * std)
    return task.duet.eval()


def save_small_duet(folder: Path, kind: str = "vae") -> Path:
    network = small_duet(kind, std=0.02)
    save_generator(folder, network.config, network.state_dict())
    return folder


def inputs_of(network: DuetNetwork, rows: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random inputs of the follower's graph, of which all is known."""
    rng = np.random.default_rng(seed)
    shapes = network.spec.graph("follower").input_shapes
    made = {
        name: torch.from_numpy(rng.normal(size=(rows, *shape)).astype(np.float32)) for name, shape in shapes.items()
    }
    return made | {"known": torch.ones_like(made["known"]), "role": torch.zeros_like(made["role"])}
