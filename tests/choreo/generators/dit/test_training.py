"""A short training run of each diffusion transformer."""

from pathlib import Path

import numpy as np
import pytest

from choreo.generators.checkpoint import load_generator
from choreo.generators.dit.config import DiTGeneratorConfig
from choreo.generators.dit.recipe import DiTRecipe
from choreo.training.recipe import load_recipe
from choreo.training.run import train

RECIPES = Path(__file__).parents[4] / "recipes"


def _shipped(name: str) -> DiTRecipe:
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    assert isinstance(recipe, DiTRecipe)
    return recipe


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dit-adaln", "dit-crossattn", "dit-incontext", "dit-lab"])
def test_the_smoke_variant_trains_the_shipped_recipe_without_any_data(name: str, tmp_path: Path) -> None:
    shipped = _shipped(name)
    smoke = shipped.smoke()
    assert (smoke.denoiser, smoke.losses) == (shipped.denoiser, shipped.losses)
    if name == "dit-lab":  # its network is large for two cores
        few = {"max_steps": 2, "validate_every": 2, "save_every": 2, "validation_dances": 0}
        smoke = smoke.model_copy(update={"train": smoke.train.model_copy(update=few)})
    network = load_generator(train(smoke, None, tmp_path / "run"))
    assert isinstance(network.config, DiTGeneratorConfig)
    assert network.config.spec.family == shipped.architecture
    assert network.config.denoiser == shipped.denoiser
    assert network.config.spec.representation == shipped.representation
    assert network.config.spec.parameters["schedule"] == shipped.schedule
    assert all(np.isfinite(value.numpy()).all() for value in network.state_dict().values())
