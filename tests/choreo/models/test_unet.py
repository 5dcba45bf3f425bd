import pytest
import torch

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


def awake(config: UNetConfig) -> MotionUNet:
    """Zero-initialised layers would hide mistakes, so every weight is random here."""
    torch.manual_seed(0)
    model = MotionUNet(config).eval()
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
    with torch.device("meta"):
        model = MotionUNet(UNetConfig(context_dim=768))
        parameters = sum(p.numel() for p in model.parameters())
        out = model(*[x.to("meta") for x in inputs(2, 196, UNetConfig())])
    assert out.shape == (2, 196, 66)
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
