import pytest
import torch

from choreo.models.denoiser import Denoiser
from choreo.models.spec import ModelSpec, Prediction
from choreo.models.unet import MotionUNet, UNetConfig

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


SPEC = ModelSpec(name="test", context_dim=12, mean=(0.0,) * 66, std=(1.0,) * 66)


def awake(config: UNetConfig, spec: ModelSpec = SPEC) -> Denoiser:
    """Zero-initialised layers would hide mistakes, so every weight is random here."""
    torch.manual_seed(0)
    model = Denoiser(MotionUNet(config), spec).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return model


@pytest.mark.parametrize("frames", [1, 7, 196, 197, 200])
def test_any_length_comes_back_with_its_shape(frames: int) -> None:
    x = inputs(2, frames, SMALL)
    assert awake(SMALL)(*x).shape == x[0].shape


def test_attention_sits_at_the_down_sampling_factors_that_were_asked_for() -> None:
    model = MotionUNet(SMALL)
    at = [stage.attention is not None for stage in model.down if hasattr(stage, "attention")]
    assert at == [True] * 6 + [False] * 2
    assert model.middle[1] is not None


def test_the_documents_configuration_builds_and_runs() -> None:
    with torch.inference_mode():
        model = MotionUNet(UNetConfig(context_dim=768)).eval()
        parameters = sum(p.numel() for p in model.parameters())
        out = model(*inputs(1, 196, UNetConfig()))
    assert out.shape == (1, 196, 66)
    assert torch.isfinite(out).all()
    assert parameters > 300e6


@torch.no_grad()
def test_a_batch_equals_its_rows_alone() -> None:
    model, x = awake(SMALL), inputs(4, 196, SMALL)
    together = model(*x)
    alone = torch.cat([model(*[part[[i]] for part in x]) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_known_frames_come_out_as_they_went_in_and_shape_the_rest() -> None:
    model, x = awake(SMALL), inputs(1, 40, SMALL)
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


@torch.no_grad()
def test_the_correction_starts_at_nothing_and_can_pass_motion_through() -> None:
    """With F = 0 and a gain of one on the unsmoothed residual, x0 is x_t; smoothed, a constant stays what it was."""
    x = inputs(2, 32, SMALL)
    model = Denoiser(MotionUNet(SMALL), SPEC).eval()
    assert (model(*x) == 0).all()
    gains = model.gains[-1].bias.view(-1, 66)
    gains[0] = 1
    torch.testing.assert_close(model(*x), x[0], atol=1e-5, rtol=1e-5)
    gains[0], gains[3] = 0, 1
    x[0][:] = 3.0
    x[8][:, 20:] = 0
    out = model(*x)
    torch.testing.assert_close(out[:, :20], x[0][:, :20])
    assert (out[:, 20:] == 0).all()


@torch.no_grad()
def test_noise_prediction_has_no_skip() -> None:
    x = inputs(1, 32, SMALL)
    spec = SPEC.model_copy(update={"prediction": Prediction.EPS})
    model = Denoiser(MotionUNet(SMALL), spec).eval()
    model.gains[-1].bias[:] = 1
    assert (model(*x) == 0).all()
