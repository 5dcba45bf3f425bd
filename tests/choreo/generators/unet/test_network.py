import pytest
import torch

from choreo.generators.spec import GeneratorSpec
from choreo.generators.unet.config import UNetConfig
from choreo.generators.unet.graphs import unet_spec
from choreo.generators.unet.network import MotionUNet
from choreo.generators.windowed_denoiser import Denoiser

SMALL = UNetConfig(
    model_channels=16, channel_mult=(1, 2, 4, 4), num_res_blocks=2, attention_resolutions=(4, 2, 1), num_heads=2,
    context_dim=12, dropout=0.0,
)  # fmt: skip


def inputs(batch: int, frames: int, config: UNetConfig, seed: int = 0) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    c, tokens = config.channels, 50
    return [
        rand(batch, frames, c), torch.rand(batch, 1, generator=g) * 1000, rand(batch, tokens, config.context_dim),
        torch.ones(batch, tokens), rand(batch, frames, c + 1).clamp(0, 1), rand(batch, frames, c),
        torch.zeros(batch, frames, c), rand(batch, frames, config.rhythm_channels), torch.ones(batch, frames),
    ]  # fmt: skip


SPEC = unet_spec("test", window=64, context_dim=12, mean=(0.0,) * 66, std=(1.0,) * 66)


def network_inputs(batch: int, frames: int, config: UNetConfig) -> list[torch.Tensor]:
    """What `Denoiser` hands to its network: two views of x_t, and no known frames."""
    x, t, context, context_mask, prior, _, known_mask, rhythm, frame_mask = inputs(batch, frames, config)
    return [torch.cat([x, x], dim=2), t, context, context_mask, prior, known_mask, rhythm, frame_mask]


def awake(config: UNetConfig, spec: GeneratorSpec = SPEC) -> Denoiser:
    """Zero-initialised layers would hide mistakes, so every weight is random here."""
    torch.manual_seed(0)
    model = Denoiser(MotionUNet(config), spec).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return model


@pytest.mark.parametrize("frames", [1, 7, 196, 197, 200])
@pytest.mark.parametrize("patch_frames", [1, 4])
def test_any_length_comes_back_with_its_shape(frames: int, patch_frames: int) -> None:
    config = SMALL.model_copy(update={"patch_frames": patch_frames})
    assert awake(config).network(*network_inputs(2, frames, config)).shape == (2, frames, 66)


@torch.no_grad()
def test_a_patch_is_so_many_frames_and_no_others() -> None:
    """Without convolutions over time and without attention, a frame reaches the frames of its own patch."""
    config = UNetConfig(
        model_channels=16, channel_mult=(1,), num_res_blocks=1, attention_resolutions=(), patch_frames=4,
        kernel_size=1, num_heads=2, context_dim=12, dropout=0.0, num_groups=1,
    )  # fmt: skip
    model, x = awake(config).network, network_inputs(1, 16, config)
    model.middle[1] = Passed()
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda h: h  # type: ignore[method-assign]
    before = model(*x)
    x[0][:, 5] += 1
    moved = (model(*x) - before).abs().amax(dim=(0, 2)) > 0
    assert moved.nonzero()[:, 0].tolist() == [4, 5, 6, 7]


class Passed(torch.nn.Module):
    """In place of an attention block: lets motion through."""

    def forward(self, h: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return h


def test_attention_sits_at_the_down_sampling_factors_that_were_asked_for() -> None:
    model = MotionUNet(SMALL)
    at = [stage.attention is not None for stage in model.down if hasattr(stage, "attention")]
    assert at == [True] * 6 + [False] * 2
    assert model.middle[1] is not None


def test_the_documents_configuration_builds_and_runs() -> None:
    with torch.inference_mode():
        model = MotionUNet(UNetConfig(context_dim=768)).eval()
        parameters = sum(p.numel() for p in model.parameters())
        out = model(*network_inputs(1, 196, UNetConfig()))
    assert out.shape == (1, 196, 66)
    assert torch.isfinite(out).all()
    assert parameters > 300e6


@torch.no_grad()
def test_a_batch_equals_its_rows_alone() -> None:
    model, x = awake(SMALL), inputs(4, 64, SMALL)
    together = model(*x)
    alone = torch.cat([model(*[part[[i]] for part in x]) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_known_frames_come_out_as_they_went_in_and_shape_the_rest() -> None:
    model, x = awake(SMALL), inputs(1, 64, SMALL)
    free = model(*x)
    x[6][:, :3] = 1
    held = model(*x)
    torch.testing.assert_close(held[:, :3], x[5][:, :3])
    assert (held[:, 3:] - free[:, 3:]).abs().max() > 1e-4


@torch.no_grad()
def test_what_is_masked_has_no_influence() -> None:
    model, x = awake(SMALL), inputs(1, 64, SMALL)
    x[3][:, 30:40] = 0  # context tokens
    x[4][:, 20:, -1] = 0  # prior
    x[8][:, 50:] = 0  # frames
    before = model(*x)
    x[2][:, 30:40] += 5
    x[4][:, 20:, :-1] += 5
    x[0][:, 50:] += 5
    after = model(*x)
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)
    assert (before[:, 50:] == 0).all()


@torch.no_grad()
@pytest.mark.parametrize("index", [0, 1, 2, 4, 7], ids=["x", "t", "context", "prior", "rhythm"])
def test_every_input_matters(index: int) -> None:
    model, x = awake(SMALL), inputs(1, 64, SMALL)
    before = model(*x)
    x[index] = x[index] * 0.5 + 0.3
    assert (model(*x) - before).abs().max() > 1e-4
