"""The denoiser and the checkpoint of a latent generator, and what makes one unusable."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from small_latent import CHANNELS, save_small_latent, small_config, small_latent, small_latent_spec, small_vae

from choreo.errors import InvalidArtifact
from choreo.generators.checkpoint import CONFIG, WEIGHTS, load_generator, read_config, save_generator
from choreo.generators.latent.denoiser import LatentDenoiser
from choreo.generators.latent.model import LatentNetwork
from choreo.generators.registry import generator
from choreo.generators.sample_inputs import sample_inputs
from choreo.generators.spec import GeneratorSpec, TensorSpec


def inputs_of(rows: int, seed: int = 0) -> dict[str, torch.Tensor]:
    arrays = sample_inputs(small_latent_spec().graph("denoiser"), rows, seed)
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


@torch.no_grad()
def test_without_training_it_is_the_best_linear_denoiser_of_latents_of_variance_one() -> None:
    torch.manual_seed(0)
    denoiser = LatentDenoiser(small_config()).eval()
    inputs = inputs_of(64) | {"given_mask": torch.zeros(64, 16, 1)}
    z = torch.randn(64, 16, CHANNELS)
    a = denoiser.alphas_cumprod[inputs["t"][:, 0].long()][:, None, None]
    x0 = denoiser(*(inputs | {"x": a.sqrt() * z + (1 - a).sqrt() * torch.randn_like(z)}).values())
    error, expected = ((x0 - z) ** 2).mean(dim=(1, 2)), (1 - a)[:, 0, 0]
    assert (error.mean() / expected.mean()).item() == pytest.approx(1, abs=0.1)
    reported, _ = LatentNetwork(small_config()).expected_errors(a[:, 0, 0])
    torch.testing.assert_close(reported, expected)


@torch.no_grad()
def test_tokens_that_are_given_come_out_as_they_are() -> None:
    network = small_latent()
    inputs = inputs_of(3)
    inputs["given_mask"][:] = 0
    inputs["given_mask"][:, :5] = 1
    out = network.denoiser(*inputs.values())
    torch.testing.assert_close(out[:, :5], inputs["given"][:, :5], rtol=0, atol=0)
    assert (out[:, 5:] - inputs["given"][:, 5:]).abs().min() > 0


@torch.no_grad()
def test_every_condition_matters() -> None:
    network = small_latent()
    inputs = inputs_of(2)
    inputs["music_mask"][:], inputs["prior_mask"][:], inputs["has_text"][:] = 1, 1, 1
    plain = network.denoiser(*inputs.values())
    for name in inputs.keys() - {"x"}:
        changed = inputs | {name: torch.roll(inputs[name], 1, 0) if name == "t" else 1 - inputs[name]}
        assert (network.denoiser(*changed.values()) - plain).abs().max() > 1e-5, name


@torch.no_grad()
def test_music_that_is_not_there_is_the_same_whatever_its_numbers() -> None:
    network = small_latent()
    inputs = inputs_of(2) | {"music_mask": torch.zeros(2, 16, 16), "prior_mask": torch.zeros(2, 16, 16)}
    other = inputs | {"music": torch.randn_like(inputs["music"]), "prior": torch.randn_like(inputs["prior"])}
    torch.testing.assert_close(network.denoiser(*other.values()), network.denoiser(*inputs.values()))


@torch.no_grad()
def test_a_network_that_predicts_noise_says_the_same() -> None:
    config = small_config()
    spec = small_latent_spec(parameters=None)
    noise = spec.model_copy(update={"parameters": spec.parameters | {"prediction": "eps"}})
    denoiser = small_latent(config).denoiser
    other = LatentDenoiser(config.model_copy(update={"spec": noise})).eval()
    other.load_state_dict(denoiser.state_dict())
    inputs = inputs_of(4)
    a = denoiser.alphas_cumprod[inputs["t"][:, 0].long()][:, None, None]
    x0, eps = denoiser(*inputs.values()), other(*inputs.values())
    torch.testing.assert_close(a.sqrt() * x0 + (1 - a).sqrt() * eps, inputs["x"], atol=1e-4, rtol=1e-4)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    network = small_latent()
    loaded = load_generator(save_small_latent(tmp_path))
    assert loaded.config == network.config
    for name, value in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=0, atol=0)
    rows = sample_inputs(network.spec.graph("decoder"), 2)
    np.testing.assert_array_equal(
        loaded.evaluate("decoder", rows)["features"], network.evaluate("decoder", rows)["features"]
    )


@pytest.mark.parametrize("part", ["encoder", "denoiser", "decoder"])
def test_a_checkpoint_without_one_of_its_parts_is_refused(tmp_path: Path, part: str) -> None:
    save_small_latent(tmp_path)
    state = {k: v for k, v in load_file(tmp_path / WEIGHTS).items() if not k.startswith(f"{part}.")}
    save_file(state, tmp_path / WEIGHTS)
    with pytest.raises(InvalidArtifact, match=f"small-latent has no weights of its {part}"):
        load_generator(tmp_path)


def test_a_checkpoint_of_another_representation_is_refused(tmp_path: Path) -> None:
    save_small_latent(tmp_path)
    document = json.loads((tmp_path / CONFIG).read_text())
    document["spec"]["representation"] = "root-velocity-70"
    (tmp_path / CONFIG).write_text(json.dumps(document))
    with pytest.raises(InvalidArtifact, match="its VAE was trained on root-velocity-66, but the spec is of root-veloc"):
        read_config(tmp_path)


def test_latents_without_a_scale_are_refused(tmp_path: Path) -> None:
    unscaled = small_config(small_latent_spec(scale=None))
    with pytest.raises(InvalidArtifact, match="its latents were not scaled to unit variance"):
        LatentNetwork(unscaled)
    save_generator(tmp_path, unscaled, small_latent().state_dict())
    with pytest.raises(InvalidArtifact, match=r"not scaled to unit variance.*call `choreo train` again"):
        read_config(tmp_path)


def changed(**fields: object) -> GeneratorSpec:
    return small_latent_spec().model_copy(update=fields)


def with_graph(name: str, **fields: object) -> GeneratorSpec:
    graphs = [g.model_copy(update=fields) if g.name == name else g for g in small_latent_spec().graphs]
    return changed(graphs=tuple(graphs))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (changed(graphs=small_latent_spec().graphs[:2]), "has no graph 'decoder'"),
        (changed(parameters=small_latent_spec().parameters | {"latent_std": [0.0] * 4}), "the scale of its latents"),
        (changed(parameters=small_latent_spec().parameters | {"latent_mean": [0.0]}), "the scale of its latents"),
        (small_latent_spec(channels=5), "its latents have 5 channels, 4 scaled"),
        (changed(parameters=small_latent_spec().parameters | {"overlap": 9}), "must share 0 to 8 tokens, not 9"),
        (changed(parameters=small_latent_spec().parameters | {"schedule": "none"}), "the parameters of its spec"),
        (changed(mean=(0.0,) * 70, std=(1.0,) * 70), "its VAE has 70 channels, but root-velocity-66 has 66"),
        (with_graph("decoder", outputs=(TensorSpec(name="features", shape=(8, 66)),)), "the tensors of its decoder"),
        (with_graph("encoder", inputs=(TensorSpec(name="known", shape=(256, 66)),)), "the tensors of its encoder"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused_by_name(spec: GeneratorSpec, says: str) -> None:
    with pytest.raises(InvalidArtifact, match=says):
        generator(spec)


@pytest.mark.parametrize(
    ("vae", "says"),
    [
        (small_vae(frame_channels=70), "the spec has 66 channels, its VAE 70"),
        (small_vae(window=192, overlap=4), "the graphs of the spec are not those of its networks"),
        (small_vae(representation="root-velocity-70"), "its VAE was trained on root-velocity-70"),
    ],
)
def test_a_configuration_whose_parts_do_not_fit_is_refused(vae: object, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        small_config(vae=vae)  # type: ignore[arg-type]


def test_an_untrained_generator_keeps_the_vae() -> None:
    network = small_latent()
    blank = type(generator(network.spec)).untrained(network)
    for name, value in network.state_dict().items():
        if not name.startswith("denoiser."):
            torch.testing.assert_close(blank.state_dict()[name], value, rtol=0, atol=0)
    assert not blank.state_dict()["denoiser.output.weight"].any()
