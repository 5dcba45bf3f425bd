"""Training a duet generator: the shipped recipes, resuming, one dancer's batches, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from small_duet import couples, duet_data, duet_recipe

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.checkpoint import load_generator
from choreo.generators.duet.config import DuetConfig
from choreo.generators.duet.recipe import DuetRecipe
from choreo.generators.duet.training import DuetTask
from choreo.generators.registry import generator_class
from choreo.training.loop import TrainingRun
from choreo.training.recipe import load_recipe
from choreo.training.run import train, train_stages

RECIPES = Path(__file__).parents[4] / "recipes"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["duet", "duet-pair"])
def test_the_shipped_recipes_train_without_data(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    assert isinstance(recipe, DuetRecipe)
    folder = train(recipe.smoke(), None, tmp_path)
    config = load_generator(folder).config
    assert isinstance(config, DuetConfig)
    assert config.network == recipe.network
    assert json.loads((tmp_path / "data.json").read_text())["training"]["couples"] == 4
    assert "Apache-2.0" in (tmp_path / "data_card.md").read_text()


@pytest.mark.parametrize("kind", ["vae", "pair"])
def test_a_stopped_run_goes_on(kind: str, tmp_path: Path) -> None:
    recipe = duet_recipe(kind)
    stages = generator_class("duet").stages(recipe, duet_data())
    train_stages(stages, tmp_path / "a", None, lambda: None)
    train_stages(stages, tmp_path / "b", 2, lambda: None)
    train_stages(stages, tmp_path / "b", None, lambda: None)
    one, two = (load_generator(tmp_path / name / "last").state_dict() for name in "ab")
    for name, values in one.items():
        torch.testing.assert_close(two[name], values)


def test_a_batch_of_one_dancer_trains_one_autoencoder_alone(tmp_path: Path) -> None:
    recipe = duet_recipe(max_steps=1).model_copy(update={"no_input_prob": 0.999})
    task = DuetTask(recipe, couples()[:2], [])
    before = {name: values.clone() for name, values in task.duet.state_dict().items()}
    TrainingRun(task, tmp_path).run()
    after = task.duet.state_dict()
    changed = {name.split(".")[2] for name, values in after.items() if not torch.equal(values, before[name])}
    assert changed in ({"first"}, {"second"})


def test_another_network_is_refused(tmp_path: Path) -> None:
    train_stages(generator_class("duet").stages(duet_recipe(), duet_data()), tmp_path, 2, lambda: None)
    with pytest.raises(InvalidArtifact, match="another network"):
        train_stages(generator_class("duet").stages(duet_recipe("pair"), duet_data()), tmp_path, None, lambda: None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": {"width": 60}}, "multiple of 16"),
        ({"representation": "root-velocity-70"}, "representation must be"),
        ({"train": {"best_by": "fid_k"}}, "best_by"),
        ({"network": {"kind": "pair"}}, "no_input_prob"),
        ({"variations": {"tempos": [9]}}, "tempos"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(change: dict, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"name": "x", "architecture": "duet", "train": {"best_by": "loss/total"}} | change))
    with pytest.raises(InvalidInput, match=message):
        load_recipe(path)


def test_data_without_couples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no archive of couples"):
        train(duet_recipe(), tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()
