"""The three transformers: shapes, what they begin as, padding, conditions and exported graphs."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from choreo.generators.dit.adaln import AdaLNBlock
from choreo.generators.dit.blocks import RMSNorm, rotated
from choreo.generators.dit.config import DiTConfig, DiTGeneratorConfig
from choreo.generators.dit.model import BACKBONES, DiTModel
from choreo.generators.registry import generator, generator_class
from choreo.generators.windowed_spec import windowed_spec
from choreo.models.conditioner_config import ConditionerConfig
from choreo.training.recipe import load_recipe
from export.onnx_graphs import TOLERANCE, export_graphs

SMALL = DiTConfig(width=16, layers=2, num_heads=2, hidden=24, context_dim=16, rhythm_channels=4, dropout=0.0)
FRAMES = 196
every_family = pytest.mark.parametrize("family", sorted(BACKBONES))


def small(family: str, patch_frames: int = 4, awake: bool = True) -> DiTModel:
    config = DiTGeneratorConfig(
        spec=windowed_spec("small", family=family, context_dim=16, mean=(0.0,) * 66, std=(1.0,) * 66),
        conditioner=ConditionerConfig(context_dim=16, num_heads=2),
        denoiser=SMALL.model_copy(update={"patch_frames": patch_frames}),
        music_mean=(0.0,) * 35,
        music_std=(1.0,) * 35,
    )
    torch.manual_seed(0)
    network = DiTModel(config).eval()
    for parameter in network.parameters() if awake else ():
        torch.nn.init.normal_(parameter, std=0.15)
    return network


def inputs(batch: int = 2) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    rand = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    return {
        "x": rand(batch, FRAMES, 66), "t": torch.full((batch, 1), 500.0), "context": rand(batch, 50, 16),
        "context_mask": torch.ones(batch, 50), "prior": rand(batch, FRAMES, 67).clamp(0, 1),
        "known": rand(batch, FRAMES, 66), "known_mask": torch.zeros(batch, FRAMES, 66),
        "rhythm": rand(batch, FRAMES, 4), "frame_mask": torch.ones(batch, FRAMES),
    }  # fmt: skip


@every_family
@pytest.mark.parametrize("patch_frames", [1, 4, 5])
def test_motion_comes_back_with_its_shape(family: str, patch_frames: int) -> None:
    out = small(family, patch_frames).denoiser(*inputs().values())
    assert out.shape == (2, FRAMES, 66)
    assert out.isfinite().all()


@every_family
def test_a_new_network_adds_nothing_to_the_linear_denoiser(family: str) -> None:
    given = inputs()
    network = small(family, awake=False).denoiser
    a = network.alphas_cumprod[500]
    torch.testing.assert_close(network(*given.values()), a.sqrt() * given["x"], atol=1e-4, rtol=1e-4)


def test_a_new_adaln_block_is_the_identity() -> None:
    x = torch.randn(2, 7, 16)
    out = AdaLNBlock(SMALL)(x, torch.randn(2, 16), torch.ones(2, 7), torch.arange(7))
    assert torch.equal(out, x)


@every_family
@torch.no_grad()
def test_the_backbone_returns_the_tokens_of_the_motion_only(family: str) -> None:
    network, given = small(family).denoiser.network, inputs()
    conditions = network._conditions(given["t"], given["context"], given["context_mask"])
    h = torch.randn(2, 9, 16)
    assert network._backbone(h, conditions, torch.ones(2, 9)).shape == h.shape
    new = small(family, awake=False).denoiser.network
    assert torch.equal(new._backbone(h, conditions, torch.ones(2, 9)), h)


@every_family
@torch.no_grad()
def test_padding_does_not_leak(family: str) -> None:
    network, given = small(family).denoiser, inputs()
    given["frame_mask"][:, 100:] = 0
    before = network(*given.values())
    for name in ("x", "prior", "rhythm", "known"):
        given[name][:, 100:] += 5
    after = network(*given.values())
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    assert not after[:, 100:].any()


@every_family
@pytest.mark.parametrize("name", ["t", "prior", "rhythm", "music", "text"])
@torch.no_grad()
def test_every_condition_changes_the_motion(family: str, name: str) -> None:
    network, given = small(family).denoiser, inputs()
    before = network(*given.values())
    if name in ("music", "text"):
        given["context"][:, -1 if name == "text" else slice(0, -1)] += 1
    else:
        given[name] = given[name] + 1
    assert (network(*given.values()) - before).abs().max() > 1e-4


@every_family
@torch.no_grad()
def test_known_values_come_out_as_they_went_in(family: str) -> None:
    network, given = small(family).denoiser, inputs()
    free = network(*given.values())
    given["known_mask"][:, 20:40, :30] = 1
    out = network(*given.values())
    assert torch.equal(out[:, 20:40, :30], given["known"][:, 20:40, :30])
    assert (out - free)[:, 60:].abs().max() > 1e-5


def test_rotary_scores_depend_on_distance_only() -> None:
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    score = lambda i, j: (rotated(q, torch.tensor([i])) * rotated(k, torch.tensor([j]))).sum()  # noqa: E731
    torch.testing.assert_close(score(3, 1), score(13, 11), atol=1e-5, rtol=1e-5)
    assert float(RMSNorm(8)(5 * q).square().mean().detach()) == pytest.approx(1, abs=1e-4)


@every_family
def test_exported_graphs_agree_with_torch(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.onnx_graphs.PARITY_BATCHES", (1, 2, 5, 32))
    network = small(family)
    for graph in export_graphs(network, tmp_path):
        assert set(graph.parity) == {1, 2, 5, 32}
        assert max(graph.parity.values()) <= TOLERANCE["float32"]


@every_family
def test_the_registry_and_the_recipe_know_the_family(family: str) -> None:
    assert isinstance(generator(small(family).spec), generator_class(family))
    recipe = load_recipe(Path(__file__).parents[4] / "recipes" / f"{family}.yaml")
    assert recipe.name == recipe.architecture == family


def test_a_checkpoint_of_another_family_is_refused() -> None:
    document = small("dit-adaln").config.model_dump(mode="json")
    document["spec"]["family"] = "unet"
    with pytest.raises(ValueError, match="the family 'unet' is none of the transformers'"):
        DiTGeneratorConfig.model_validate(document)
