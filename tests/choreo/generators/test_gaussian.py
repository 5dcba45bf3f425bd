import numpy as np
import pytest
import torch

from choreo.diffusion.schedule import Prediction
from choreo.generators.gaussian import MIN_VARIANCE, GaussianModel
from choreo.generators.unet.graphs import unet_spec
from choreo.generators.windowed_denoiser import Denoiser, _reflected

FRAMES, CHANNELS = 24, 5


def walks(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random motion (N, T, C) whose channels are not independent."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(count, FRAMES, CHANNELS)) * 0.2
    mixed = np.cumsum(steps, axis=1) @ np.random.default_rng(99).normal(size=(CHANNELS, CHANNELS))
    return (mixed + rng.normal(size=(count, 1, CHANNELS))).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> GaussianModel:
    model = GaussianModel(FRAMES, CHANNELS)
    model.fit(walks(4000))
    return model


def test_modes_and_back_are_the_identity_and_keep_lengths(fitted: GaussianModel) -> None:
    x = torch.from_numpy(walks(3))
    modes = fitted.to_modes(x)
    torch.testing.assert_close(modes.square().sum(), x.square().sum(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fitted.to_frames(modes) @ fitted.axes.T, x, rtol=1e-4, atol=1e-4)


def test_variances_are_those_of_the_modes(fitted: GaussianModel) -> None:
    same = fitted.to_modes(torch.from_numpy(walks(4000))).square().mean(dim=0)
    torch.testing.assert_close(same, fitted.variances, rtol=1e-3, atol=1e-5)


def test_a_channel_without_variance_is_no_division_by_zero() -> None:
    model = GaussianModel(FRAMES, CHANNELS)
    model.fit(np.zeros((4, FRAMES, CHANNELS)))
    assert (model.variances == torch.tensor(MIN_VARIANCE)).all()
    for alphas_cumprod in (0.0, 0.5, 1.0 - 1e-6):
        a = torch.full((1, 1, 1), alphas_cumprod)
        assert all(torch.isfinite(f(a)).all() for f in (model.mean_gain, model.deviation, model.whitening))


def test_before_it_is_fitted_it_is_edm_in_the_variance_preserving_form() -> None:
    """Karras et al. 2022, table 1, with unit data and sigma = s / a: c_skip = a x_t, c_out = s."""
    model, a = GaussianModel(FRAMES, CHANNELS), torch.tensor([[[0.36]]])
    assert torch.allclose(model.mean_gain(a), torch.tensor(0.6))
    assert torch.allclose(model.deviation(a), torch.tensor(0.8))
    assert torch.allclose(model.whitening(a), torch.tensor(1.0))


@pytest.mark.parametrize("alphas_cumprod", [0.02, 0.5, 0.98])
def test_it_errs_by_what_it_expects_and_no_other_gain_errs_less(fitted: GaussianModel, alphas_cumprod: float) -> None:
    x0 = torch.from_numpy(walks(2000, seed=1))
    a = torch.full((1, 1, 1), alphas_cumprod)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    modes = fitted.to_modes(a.sqrt() * x0 + (1 - a).sqrt() * noise)

    def error(factor: float) -> torch.Tensor:
        return fitted.to_frames(factor * fitted.mean_gain(a) * modes) @ fitted.axes.T - x0

    expected, expected_velocity = fitted.expected_errors(a[:, 0, 0])
    assert error(1.0).square().mean().item() == pytest.approx(expected.item(), rel=0.1)
    assert error(1.0).diff(dim=1).square().mean().item() == pytest.approx(expected_velocity.item(), rel=0.15)
    assert error(1.0).square().mean() < min(error(0.9).square().mean(), error(1.1).square().mean())


def test_what_lies_behind_the_last_frame_is_the_motion_reflected() -> None:
    x = torch.arange(10.0)[None, :, None]
    mask = torch.zeros(1, 10)
    mask[:, :4] = 1
    assert _reflected(x, mask)[0, :, 0].tolist() == [0, 1, 2, 3, 3, 2, 1, 0, 0, 1]
    assert _reflected(x, torch.ones(1, 10))[0, :, 0].tolist() == list(range(10))


class FakeNetwork(torch.nn.Module):
    """Answers with a constant and keeps what it saw."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, seen: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        self.seen = seen
        return torch.full((*seen.shape[:2], CHANNELS), self.value)


def denoise(prediction: Prediction, value: float, t: int, held: bool = False) -> tuple[Denoiser, torch.Tensor]:
    spec = unet_spec(
        "test", window=FRAMES, context_dim=4, prediction=prediction,
        mean=(0.0,) * CHANNELS, std=(1.0,) * CHANNELS,
    )  # fmt: skip
    model = Denoiser(FakeNetwork(value), spec)
    model.gaussian.fit(walks(500))
    x = torch.from_numpy(walks(2, seed=5))
    known_mask = torch.zeros_like(x)
    known_mask[:, :3] = held
    none = torch.zeros(2, 1)
    rows = (x, torch.full((2, 1), float(t)), none, none, none, x * 2, known_mask, none, torch.ones(2, FRAMES))
    return model, model(*rows)


def test_a_network_that_adds_nothing_leaves_the_linear_denoiser() -> None:
    model, x0 = denoise(Prediction.X0, 0.0, 500)
    torch.testing.assert_close(model.network.seen[..., :CHANNELS], x0, rtol=1e-4, atol=1e-4)  # type: ignore[union-attr]


def test_what_a_network_adds_counts_less_where_less_is_unknown() -> None:
    def added(t: int) -> float:
        return float((denoise(Prediction.X0, 1.0, t)[1] - denoise(Prediction.X0, 0.0, t)[1]).abs().mean())

    assert 10 * added(5) < 2 * added(300) < added(900)


def test_eps_and_x0_say_the_same() -> None:
    model, x0 = denoise(Prediction.X0, 0.3, 400)
    _, eps = denoise(Prediction.EPS, 0.3, 400)
    a = model.alphas_cumprod[400]
    x = torch.from_numpy(walks(2, seed=5))
    torch.testing.assert_close((x - (1 - a).sqrt() * eps) / a.sqrt(), x0, rtol=1e-4, atol=1e-4)


def test_known_frames_are_seen_without_noise_and_come_out_as_they_went_in() -> None:
    model, x0 = denoise(Prediction.X0, 0.3, 5, held=True)
    x = torch.from_numpy(walks(2, seed=5))
    torch.testing.assert_close(x0[:, :3], 2 * x[:, :3])
    torch.testing.assert_close(model.network.seen[:, 0, :CHANNELS], 2 * x[:, 0], rtol=0.2, atol=0.2)  # type: ignore[union-attr]


def test_channels_that_are_apart_leave_motion_as_it_is() -> None:
    rng = np.random.default_rng(0)
    motion = walks(2000)
    jumping = (motion[..., :1] + rng.normal(size=motion[..., :1].shape) > 0).astype(np.float64)
    alone, mixed, apart = (
        GaussianModel(FRAMES, CHANNELS),
        *(GaussianModel(FRAMES, CHANNELS + 1, where) for where in (None, slice(CHANNELS, CHANNELS + 1))),
    )
    alone.fit(motion)
    for model in (mixed, apart):
        model.fit(np.concatenate([motion, jumping], axis=2))
    np.testing.assert_allclose(apart.variances[:, :CHANNELS], alone.variances, rtol=1e-4)
    assert apart.axes[:CHANNELS, CHANNELS].abs().max() == 0
    assert apart.axes[CHANNELS, CHANNELS] == 1
    a = torch.tensor([0.9, 0.1])
    for ours, theirs in zip(apart.expected_errors(a), alone.expected_errors(a), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)
    assert (mixed.axes[CHANNELS] ** 2 > 0.01).sum() > 1
    assert (apart.axes[CHANNELS] ** 2 > 0).sum() == 1
