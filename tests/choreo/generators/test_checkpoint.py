"""Checkpoint folders: what is written is read, also what version 0.1 wrote, and broken ones are refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_network import save_small, small_network

from choreo.diffusion.parameters import DiffusionParameters
from choreo.errors import InvalidArtifact
from choreo.generators.checkpoint import CONFIG, WEIGHTS, load_generator, read_config
from choreo.generators.network import GeneratorNetwork
from choreo.generators.registry import GeneratorUnavailable
from choreo.generators.sample_inputs import sample_inputs
from choreo.generators.spec import GeneratorSpec

Document = dict[str, Any]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to be broken."""
    return Path(shutil.copytree(saved, tmp_path / "folder"))


def rewrite(folder: Path, change: Callable[[Document], object]) -> Path:
    document = json.loads((folder / CONFIG).read_text())
    change(document)
    (folder / CONFIG).write_text(json.dumps(document))
    return folder


def version_0_1(document: Document) -> None:
    """As version 0.1 wrote it: the family beside the networks, the sizes of the tensors in a flat spec."""
    spec = GeneratorSpec.model_validate(document["spec"])
    tokens, dim = spec.graph("denoiser").input_shapes["context"]
    flat = {
        "name": spec.name, "window": spec.window, "channels": spec.channels, "fps": spec.fps, "context_tokens": tokens,
        "context_dim": dim, "music_encoder": spec.music_encoder, "music_dim": spec.music_dim,
        "text_encoder": spec.text_encoder, "text_dim": spec.text_dim,
        "rhythm_channels": spec.graph("denoiser").input_shapes["rhythm"][1],
        **DiffusionParameters.of(spec).model_dump(mode="json"),
        "representation": spec.representation, "mean": spec.mean, "std": spec.std,
    }  # fmt: skip
    document |= {"architecture": "unet", "spec": flat}
    del document["distilled"]


def assert_equal(one: GeneratorNetwork, other: GeneratorNetwork) -> None:
    assert one.config == other.config
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    for graph in one.spec.graphs:
        inputs = sample_inputs(graph, 2)
        expected = other.evaluate(graph.name, inputs)
        for name, values in one.evaluate(graph.name, inputs).items():
            assert (values == expected[name]).all()


def test_what_is_saved_is_loaded(saved: Path) -> None:
    loaded = load_generator(saved)
    assert not loaded.training
    assert_equal(loaded, small_network())


def test_a_checkpoint_of_version_0_1_is_loaded_as_a_new_one(saved: Path, folder: Path) -> None:
    old = load_generator(rewrite(folder, version_0_1))
    assert old.spec.family == "unet"
    assert_equal(old, load_generator(saved))


def denoiser(document: Document) -> Document:
    graph: Document = document["spec"]["graphs"][1]
    assert graph["name"] == "denoiser"
    return graph


def replaced(**fields: Any) -> Callable[[Document], object]:
    return lambda document: document["spec"].update(fields)


BROKEN: dict[str, tuple[Callable[[Document], object], str]] = {
    "fewer channels in the statistics": (replaced(mean=[0.0] * 65, std=[1.0] * 65), "65"),
    "fewer channels in the network": (lambda d: d["denoiser"].update(channels=65), "65"),
    "fewer channels in a tensor": (lambda d: denoiser(d)["inputs"][0].update(shape=[196, 65]), "65"),
    "another window": (replaced(window=100), "window"),
    "a deviation of zero": (replaced(std=[0.0] + [1.0] * 65), "std"),
    "a deviation that is no number": (replaced(std=[float("nan")] + [1.0] * 65), "std"),
    "a mean that is infinite": (replaced(mean=[float("inf")] + [1.0] * 65), "mean"),
    "a missing tensor": (lambda d: denoiser(d)["inputs"].pop(4), "denoiser"),
    "a missing output": (lambda d: denoiser(d)["outputs"].clear(), "outputs"),
    "another output": (lambda d: denoiser(d)["outputs"][0].update(name="eps"), "eps"),
    "a tensor that is there twice": (lambda d: denoiser(d)["inputs"].append(denoiser(d)["inputs"][0]), "inputs x more"),
    "tensors in another order": (lambda d: denoiser(d)["inputs"].reverse(), "denoiser"),
    "a tensor without a size": (lambda d: denoiser(d)["inputs"][0].update(shape=[196, 0]), "shape"),
    "a missing graph": (lambda d: d["spec"]["graphs"].pop(0), "conditioner"),
    "a graph that is there twice": (lambda d: d["spec"]["graphs"].append(denoiser(d)), "more than once"),
    "no graphs": (replaced(graphs=[]), "graphs"),
    "broken parameters": (replaced(parameters={"prediction": "velocity"}), "parameters"),
    "another width of the context": (lambda d: d["denoiser"].update(context_dim=32), "32"),
    "other statistics of the music": (lambda d: d.update(music_mean=[0.0] * 34), "35"),
    "no frames per token": (lambda d: d["conditioner"].update(frames_per_token=0), "checkpoint"),
    "no groups": (lambda d: d["denoiser"].update(num_groups=0), "checkpoint"),
    "groups that do not fit": (lambda d: d["denoiser"].update(num_groups=5), "checkpoint"),
    "sizes of the networks that are missing": (lambda d: d.pop("denoiser"), "denoiser"),
    "a field that is unknown": (lambda d: d.update(decoder={}), "decoder"),
    "an unknown size in version 0.1": (lambda d: (version_0_1(d), d["spec"].update(depth=3)), "depth"),
    "other channels in version 0.1": (lambda d: (version_0_1(d), d["denoiser"].update(channels=65)), "65"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_spec_that_does_not_fit_is_refused_by_name(folder: Path, how: str) -> None:
    change, says = BROKEN[how]
    with pytest.raises(InvalidArtifact, match=says) as error:
        load_generator(rewrite(folder, change))
    assert "small" in str(error.value)


@pytest.mark.parametrize(
    ("change", "family"),
    [
        (replaced(family="vqvae"), "vqvae"),
        (replaced(family=3), "3"),
        (lambda d: (version_0_1(d), d.update(architecture="dit")), "dit"),
        (lambda d: d["spec"].pop("family"), "''"),
    ],
)
def test_a_family_that_is_not_installed_is_refused_by_name(
    folder: Path, change: Callable[[Document], object], family: str
) -> None:
    with pytest.raises(GeneratorUnavailable, match=f"small.*{family}"):
        read_config(rewrite(folder, change))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"spec": 1}', "\xff", "[" * 100_000], ids=lambda text: text[:12]
)
def test_a_configuration_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / CONFIG).write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidArtifact, match="not a usable checkpoint"):
        load_generator(folder)


class TestWeights:
    @pytest.mark.parametrize("how", ["missing", "unknown", "another shape"])
    def test_tensors_that_are_not_those_of_the_network(self, folder: Path, how: str) -> None:
        state = load_file(folder / WEIGHTS)
        name = next(name for name in state if name.startswith("denoiser.network"))
        if how == "missing":
            del state[name]
        elif how == "unknown":
            state["decoder.weight"] = torch.zeros(3)
        else:
            state[name] = torch.zeros(3, 1, 4)
        save_file(state, folder / WEIGHTS)
        with pytest.raises(InvalidArtifact, match=r"small.*not a usable checkpoint"):
            load_generator(folder)

    @pytest.mark.parametrize("how", ["cut short", "empty", "gone", "text", "longer", "a tensor twice"])
    def test_a_file_that_is_broken(self, folder: Path, how: str) -> None:
        path = folder / WEIGHTS
        content = path.read_bytes()
        if how == "gone":
            path.unlink()
        elif how == "a tensor twice":
            path.write_bytes(content.replace(b'"conditioner.music.2.bias"', b'"conditioner.music.0.bias"'))
        else:
            broken = {
                "cut short": content[: len(content) // 2],
                "empty": b"",
                "text": b"x" * 99,
                "longer": content + b"x",
            }
            path.write_bytes(broken[how])
        with pytest.raises(InvalidArtifact, match="small"):
            load_generator(folder)
