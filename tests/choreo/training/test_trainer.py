import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import newest_state, recipe, trainer

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.checkpoint import load_generator
from choreo.training.checkpoints import load_checkpoint
from choreo.training.loop import TrainingRun, warmup_cosine
from choreo.training.options import TrainConfig
from choreo.training.recipe import load_recipe
from choreo.training.run import train

RECIPES = Path(__file__).parents[3] / "recipes"


def losses_of(run: TrainingRun) -> list[float]:
    seen: list[float] = []
    original = run._bookkeeping
    run._bookkeeping = lambda terms, last: (seen.append(float(terms["total"])), original(terms, last))[1]  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_resumed_run_has_the_loss_curve_of_an_uninterrupted_one(tmp_path: Path, accumulation: int) -> None:
    r = recipe(gradient_accumulation=accumulation)
    whole = trainer(tmp_path / "whole", r)
    expected = losses_of(whole)
    whole.run()
    first = trainer(tmp_path / "parts", r)
    actual = losses_of(first)
    first.run(until=3)
    second = trainer(tmp_path / "parts", r)
    assert second.step == 3
    rest = losses_of(second)
    second.run()
    np.testing.assert_allclose(actual + rest, expected, rtol=1e-5)
    assert len(expected) == 6
    a, b = (load_generator(tmp_path / f / "model").state_dict() for f in ("whole", "parts"))
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=1e-5, rtol=1e-4)


def test_checkpoints_are_whole_pruned_and_checked(tmp_path: Path) -> None:
    trainer(tmp_path, recipe(save_every=1, keep_checkpoints=2, validation_dances=0)).run()
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["step_00000005", "step_00000006"]
    newest = tmp_path / "checkpoints/step_00000006"
    assert load_checkpoint(newest)["step"] == 6
    (newest / "state.pt").write_bytes(b"PK")
    with pytest.raises(InvalidArtifact):
        load_checkpoint(newest)


def test_broken_checkpoints_of_models_are_typed_errors(tmp_path: Path) -> None:
    trainer(tmp_path, recipe(validation_dances=0)).run(until=3)
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InvalidArtifact):
        load_generator(tmp_path / "model")
    with pytest.raises(InvalidArtifact):
        load_generator(tmp_path / "nothing")


def test_compiling_keeps_the_names_of_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch.compile makes is put around the network, which is not compiled here: that takes minutes."""
    compiled: list[torch.nn.Module] = []

    class FakeCompiled(torch.nn.Module):
        """Prefixes the names of weights as torch.compile does."""

        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self._orig_mod = module

        def forward(self, batch: dict) -> torch.Tensor:
            return self._orig_mod(batch)

    def fake_compile(module: torch.nn.Module) -> torch.nn.Module:
        compiled.append(module)
        return FakeCompiled(module)

    monkeypatch.setattr(torch, "compile", fake_compile)
    run = trainer(tmp_path / "compiled", recipe(compile=True, max_steps=2, validation_dances=0))
    assert compiled == [run.task.network]
    run.run()
    plain = trainer(tmp_path / "plain", recipe(max_steps=2, validation_dances=0))
    plain.run()
    a, b = (load_checkpoint(tmp_path / f / "checkpoints/step_00000002") for f in ("compiled", "plain"))
    for part in (lambda state: state["model"], lambda state: state["ema"]["shadow"]):
        assert list(part(a)) == list(part(b))
        for name, value in part(b).items():
            torch.testing.assert_close(part(a)[name], value)


def test_windows_cut_by_workers_are_the_same(tmp_path: Path) -> None:
    states = []
    for workers in (0, 1):
        folder = tmp_path / str(workers)
        trainer(folder, recipe(num_workers=workers, max_steps=2, validation_dances=0), held_out=False).run()
        states.append(load_checkpoint(folder / "checkpoints/step_00000002")["model"])
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value)


def test_warm_up_and_cosine_count_optimiser_steps() -> None:
    factor = warmup_cosine(TrainConfig(max_steps=100, warmup_steps=10))
    assert factor(0) == pytest.approx(1 / 11)
    assert factor(10) == 1
    assert factor(55) == pytest.approx(0.5)
    assert factor(100) == pytest.approx(0, abs=1e-12)


def test_recipes_name_the_field_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: x\ntrain:\n  learning_rate: -1\n")
    with pytest.raises(InvalidInput) as error:
        load_recipe(path)
    assert error.value.field == "train.learning_rate"
    path.write_text("name: x\ntrain:\n  adam_betas: [0.9, 1.0]\n")
    with pytest.raises(InvalidInput) as error:
        load_recipe(path)
    assert error.value.field == "train.adam_betas"
    with pytest.raises(InvalidInput):
        load_recipe(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_recipes_are_valid(path: Path) -> None:
    recipe = load_recipe(path)
    assert type(recipe).model_validate_json(recipe.model_dump_json()) == recipe


def test_the_smoke_variant_trains_the_shipped_recipe_without_any_data(tmp_path: Path) -> None:
    shipped = load_recipe(RECIPES / "cleared.yaml")
    smoke = shipped.smoke()
    assert (smoke.denoiser, smoke.conditioner, smoke.losses) == (shipped.denoiser, shipped.conditioner, shipped.losses)
    model = train(smoke, None, tmp_path / "run")
    assert load_generator(model).config.denoiser == shipped.denoiser
    assert newest_state(tmp_path / "run")["step"] == smoke.train.max_steps
    summary = json.loads((tmp_path / "run/data.json").read_text())
    assert not set(summary["training"]["groups"]) & set(summary["validation"]["groups"])
