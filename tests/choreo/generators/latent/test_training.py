"""Training in two stages: what each learns, the scale of the latents, and runs that are stopped in either."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_latent import FakeWideText, latent_data, latent_recipe
from tiny_training import clips, newest_state

import choreo.training.windowed
from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.checkpoint import load_generator
from choreo.generators.latent.config import LatentConfig, VaeConfig
from choreo.generators.latent.graphs import LatentScale
from choreo.generators.latent.model import LatentNetwork
from choreo.generators.latent.recipe import LatentRecipe
from choreo.generators.latent.training import (
    VAE,
    LatentDenoising,
    by_token,
    generator_config,
    latent_stages,
    latent_task,
    vae_task,
)
from choreo.generators.latent.vae import MotionVae
from choreo.generators.latent.vae_training import load_vae, measured_scale
from choreo.motion.representation import ROOT_VELOCITY_70
from choreo.training.checkpoints import load_checkpoint
from choreo.training.loop import TrainingRun
from choreo.training.noising import Noising
from choreo.training.recipe import load_recipe
from choreo.training.run import train, train_stages
from choreo.training.windowed import TrainingData, cut_windows

RECIPES = Path(__file__).parents[4] / "recipes"


@pytest.fixture(autouse=True)
def few_validation_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choreo.training.windowed, "VALIDATION_WINDOWS", 4)


def run(folder: Path, recipe: LatentRecipe, until: int | None = None, data: TrainingData | None = None) -> Path:
    return train_stages(latent_stages(recipe, data or latent_data(recipe)), folder, until, lambda: None)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_generator(folder).state_dict()


def test_both_stages_are_trained_in_order_and_the_latents_are_scaled(tmp_path: Path) -> None:
    recipe = latent_recipe()
    model = run(tmp_path, recipe)
    assert model == tmp_path / "model"
    network = load_generator(model)
    assert isinstance(network, LatentNetwork)
    vae = load_vae(tmp_path / VAE / "model", recipe.vae)
    for name, value in vae.encoder.state_dict().items():
        torch.testing.assert_close(network.encoder.network.state_dict()[name], value, rtol=0, atol=0)
    data = latent_data(recipe)
    config = generator_config(recipe, data.training)
    windows = cut_windows(recipe, config.spec, data).training
    whole = network.spec.normalize(np.stack([windows[i]["x0"] for i in range(8)]))
    given, _ = network.encoder(torch.from_numpy(whole), torch.ones(whole.shape))
    assert given.mean().abs().item() < 0.2
    assert given.std().item() == pytest.approx(1, abs=0.1)


def test_a_checkpoint_of_the_first_stage_is_no_generator(tmp_path: Path) -> None:
    folder = run(tmp_path, latent_recipe(), until=2)
    assert folder == tmp_path / VAE / "model"
    assert not (tmp_path / "model").exists()
    with pytest.raises(InvalidArtifact, match="its latents were not scaled to unit variance"):
        load_generator(folder)


@pytest.mark.parametrize("stop", [2, 4, 6])
def test_a_run_that_is_stopped_in_either_stage_ends_like_one_that_is_not(tmp_path: Path, stop: int) -> None:
    """Two steps into the VAE, between the stages, and two steps into the denoiser."""
    recipe = latent_recipe()
    run(tmp_path / "whole", recipe)
    run(tmp_path / "parts", recipe, until=stop)
    run(tmp_path / "parts", recipe)
    expected, actual = weights(tmp_path / "whole/last"), weights(tmp_path / "parts/last")
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, atol=1e-6, rtol=1e-5)
    steps = [load_checkpoint(tmp_path / "parts" / folder / "checkpoints/step_00000004")["step"] for folder in ("", VAE)]
    assert steps == [4, 4]


def test_a_step_that_has_passed_is_refused(tmp_path: Path) -> None:
    run(tmp_path, latent_recipe(), until=6)
    for until, says in ((2, "is 2, but the run is at step 4"), (5, "is 5, but the run is at step 6")):
        with pytest.raises(InvalidInput, match=f"until: {says} already"):
            run(tmp_path, latent_recipe(), until=until)


def test_the_denoiser_leaves_the_vae_as_it_is(tmp_path: Path) -> None:
    recipe = latent_recipe()
    run(tmp_path, recipe, until=4)
    task = latent_task(recipe, latent_data(recipe), tmp_path / VAE / "model")
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    TrainingRun(task, tmp_path).run()
    changed = {name for name, value in task.network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("denoiser.") for name in changed)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"vae": VaeConfig(channels=8, width=16)}, "trained with another vae"),
        ({"representation": "root-velocity-70"}, "another representation"),
    ],
)
def test_a_run_of_another_vae_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    run(tmp_path, latent_recipe(), until=2)
    if "representation" in changes:
        changes |= {"vae": {**latent_recipe().vae.model_dump(), **changes, "frame_channels": 70}}
    recipe = latent_recipe(**changes)
    data = latent_data(recipe)
    if "representation" in changes:
        turned = [
            replace(c, features=np.zeros((240, 70), np.float32), representation=ROOT_VELOCITY_70) for c in clips()
        ]
        data = TrainingData(turned, turned, FakeWideText(recipe.text_dim))
    with pytest.raises(InvalidArtifact, match=says):
        run(tmp_path, recipe, data=data)


def test_a_denoiser_of_another_size_keeps_the_vae(tmp_path: Path) -> None:
    run(tmp_path, latent_recipe(), until=4)
    before = load_vae(tmp_path / VAE / "model", latent_recipe().vae).state_dict()
    wider = latent_recipe(denoiser={"layers": 1, "width": 32, "num_heads": 2, "feed_forward": 2})
    network = load_generator(run(tmp_path, wider))
    assert isinstance(network, LatentNetwork)
    torch.testing.assert_close(network.decoder.network.output.weight, before["decoder.output.weight"], rtol=0, atol=0)


def test_a_denoiser_without_a_vae_is_refused(tmp_path: Path) -> None:
    recipe = latent_recipe()
    with pytest.raises(InvalidArtifact, match="holds no usable VAE, which the denoiser needs"):
        latent_task(recipe, latent_data(recipe), tmp_path)


@pytest.mark.slow
def test_reconstruction_improves(tmp_path: Path) -> None:
    options = latent_recipe().vae_train.model_copy(
        update={"max_steps": 400, "learning_rate": 3e-3, "batch_size": 8, "validate_every": 50, "save_every": 500}
    )
    recipe = latent_recipe(vae={**latent_recipe().vae.model_dump(), "channels": 16, "width": 32}, vae_train=options)
    task = vae_task(recipe, latent_data(recipe))
    TrainingRun(task, tmp_path).run()
    history = [entry["loss/total"] for entry in task.best.history]
    assert history[-1] < 0.7 * history[0]


@torch.no_grad()
def test_the_scale_makes_every_channel_of_variance_one() -> None:
    torch.manual_seed(0)
    vae = MotionVae(VaeConfig(width=16, channels=5)).eval()
    windows = np.random.default_rng(0).normal(size=(70, 256, 66)).astype(np.float32)
    scale = measured_scale(vae, windows)
    mean, _ = vae.encoder(torch.from_numpy(windows), torch.ones(windows.shape))
    scaled = (mean - torch.tensor(scale.latent_mean)) / torch.tensor(scale.latent_std)
    torch.testing.assert_close(scaled.flatten(0, 1).std(dim=0), torch.ones(5), atol=1e-3, rtol=0)
    assert scaled.flatten(0, 1).mean(dim=0).abs().max() < 1e-3


def test_the_loss_of_a_perfect_denoiser_is_zero_and_of_the_linear_one_is_one() -> None:
    recipe = latent_recipe()
    data = latent_data(recipe)
    scale = LatentScale(latent_mean=(0.0,) * 4, latent_std=(1.0,) * 4)
    config = generator_config(recipe, data.training, scale)
    network = LatentNetwork(config).eval()

    class FakeEncoder(torch.nn.Module):
        """Latents of variance 1; nothing is given."""

        def forward(self, known: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            torch.manual_seed(1)
            return torch.randn(len(known), 16, 4), torch.zeros(len(known), 16, 1)

    rows = 256
    batch = {
        "x0": torch.zeros(rows, 256, 66), "known": torch.zeros(rows, 256, 66), "known_mask": torch.zeros(rows, 256, 66),
        "frame_mask": torch.ones(rows, 256), "music": torch.zeros(rows, 256, 35), "music_mask": torch.ones(rows, 256),
        "has_music": torch.zeros(rows, 1), "text": torch.zeros(rows, recipe.text_dim),
        "has_text": torch.zeros(rows, 1), "rhythm": torch.zeros(rows, 256, 4), "prior": torch.zeros(rows, 256, 67),
    }  # fmt: skip
    objective = LatentDenoising(Noising(network), FakeEncoder(), 16)
    torch.manual_seed(2)
    perfect, _ = FakeEncoder()(batch["x0"], batch["x0"])
    assert objective(batch, lambda inputs: perfect)["total"].item() == 0  # type: ignore[arg-type]
    with torch.no_grad():
        assert objective(batch, network)["total"].item() == pytest.approx(1, abs=0.15)


def test_conditions_of_a_batch_are_those_of_the_spec() -> None:
    recipe = latent_recipe()
    data = latent_data(recipe)
    config = generator_config(recipe, data.training)
    windows = cut_windows(recipe, config.spec, data).training
    batch = {name: torch.from_numpy(values)[None] for name, values in windows[0].items()}
    shapes = config.spec.graph("denoiser").input_shapes
    for name, values in by_token(batch, 16).items():
        assert values.shape == (1, *shapes[name]), name


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"representation": "root-velocity-70"}, "vae.representation must be root-velocity-70"),
        ({"vae": {"frame_channels": 70}}, "vae.frame_channels must be 66"),
        ({"denoiser": {"frames_per_context": 3}}, "must divide the 16 frames of a token"),
        ({"rhythm_channels": 5}, "rhythm_channels must be 4 or 8"),
        ({"vae_train": {"best_by": "fid_k"}}, "vae_train.best_by must be a loss"),
        ({"vae_train": {"best_by": "loss/total", "mixed_precision": "bf16"}}, "one process trains both"),
    ],
)
def test_a_recipe_whose_parts_do_not_fit_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        latent_recipe(**changes)


@pytest.mark.slow
def test_the_smoke_variant_trains_the_shipped_recipe_without_any_data(tmp_path: Path) -> None:
    shipped = load_recipe(RECIPES / "latent.yaml")
    assert isinstance(shipped, LatentRecipe)
    smoke = shipped.smoke()
    assert (smoke.vae, smoke.denoiser, smoke.losses) == (shipped.vae, shipped.denoiser, shipped.losses)
    model = train(smoke, None, tmp_path / "run")
    config = load_generator(model).config
    assert isinstance(config, LatentConfig)
    assert (config.vae, config.denoiser) == (shipped.vae, shipped.denoiser)
    assert config.spec.representation == "root-velocity-70"
    assert newest_state(tmp_path / "run")["step"] == smoke.train.max_steps
    assert newest_state(tmp_path / "run" / VAE)["step"] == smoke.vae_train.max_steps
