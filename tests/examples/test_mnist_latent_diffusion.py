"""The walk-through trains, and what it makes are digits of the classes that were asked for."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from choreo.diffusion.schedule import NoiseSchedule

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "mnist_latent_diffusion.py"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mnist_latent_diffusion", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


script = load_script()


def test_a_quick_run_makes_digits_of_the_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.main(["--quick", "--out", str(tmp_path)])

    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["real, held out"]["accuracy"] > 0.95
    assert figures["by class, guided"]["accuracy"] > 0.8  # by chance it would be .1
    assert figures["by class, guided"]["precision"] > 0.9
    assert figures["generated"]["accuracy"] is None
    with Image.open(tmp_path / "digits.png") as picture:
        assert picture.format == "PNG"
        assert np.ptp(np.asarray(picture.convert("L"))) > 200
    printed = capsys.readouterr().out
    assert "VAE loss" in printed
    assert "denoiser loss" in printed


def test_training_lowers_the_loss_and_is_a_function_of_the_seed() -> None:
    training, held_out = script.digits()
    assert len(training.images) + len(held_out.images) == 1797
    assert 0 <= training.images.min() < training.images.max() == 1

    vae, losses = script.train_vae(training, 60, seed=1)
    assert np.mean(losses[-10:]) < 0.7 * losses[0]
    assert script.train_vae(training, 5, seed=1)[1][0] == script.train_vae(training, 5, seed=1)[1][0] == losses[0]
    assert script.train_vae(training, 5, seed=2)[1][0] != losses[0]
    assert vae.decode(torch.zeros(3, script.LATENT)).shape == (3, script.PIXELS)


def test_sampling_ends_where_an_oracle_says() -> None:
    """A denoiser that knows each class's latent gives exactly that latent, whatever the guidance."""
    table = torch.randn(script.CLASSES + 1, script.LATENT, generator=torch.Generator().manual_seed(0))
    labels = np.arange(script.CLASSES)

    def fake_denoiser(x_t: torch.Tensor, t: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return table[label]

    schedule = NoiseSchedule.make("cosine")
    found = script.sample(fake_denoiser, schedule, labels, 1.0, 5, seed=3)
    np.testing.assert_allclose(found, table[: script.CLASSES], atol=1e-6)
    guided = script.sample(fake_denoiser, schedule, labels, 2.0, 5, seed=3)
    np.testing.assert_allclose(guided, 2 * table[: script.CLASSES] - table[script.NULL], atol=1e-5)


def test_the_judge_tells_real_digits_from_noise() -> None:
    training, held_out = script.digits()
    judge = script.Judge(training)
    noise = np.random.default_rng(0).random((100, script.PIXELS), np.float32)
    assert judge.quality(noise).precision == 0
    assert judge.quality(held_out.images[:100]).precision > 0.7
    assert judge.quality(training.images[:100]).distance == 0


@pytest.mark.parametrize("option", [["--steps", "0"], ["--guidance", "nan"], ["--seed", "-1"]])
def test_options_out_of_range_are_refused(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        script.main([*option, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert option[0] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
