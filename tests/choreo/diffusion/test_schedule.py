import numpy as np
import pytest

from choreo.diffusion.samplers import sampler
from choreo.diffusion.schedule import MIN_ALPHA_BAR, NoiseSchedule, Prediction, ScheduleName

SCHEDULES = list(ScheduleName)


@pytest.mark.parametrize("name", SCHEDULES)
def test_alphas_cumprod_falls_from_one_to_nearly_zero_in_float64(name: ScheduleName) -> None:
    schedule = NoiseSchedule.make(name)
    a = schedule.alphas_cumprod
    assert a.dtype == np.float64
    assert (np.diff(a) < 0).all()
    assert a[0] > 0.99
    assert a[-1] < 0.01
    assert schedule.alpha_bar(np.array([-1]))[0] == 1.0


def test_cosine_matches_nichol_and_dhariwal_at_the_middle() -> None:
    expected = np.cos((0.5 + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    assert NoiseSchedule.make("cosine").alphas_cumprod[499] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_x0_is_what_the_noise_was_added_to(name: ScheduleName) -> None:
    schedule = NoiseSchedule.make(name)
    rng = np.random.default_rng(0)
    x0, eps = rng.normal(size=(5, 7, 3)), rng.normal(size=(5, 7, 3))
    t = np.array([0, 10, 300, 700, 990])
    a = schedule.alphas_cumprod[t][:, None, None]
    x_t = np.sqrt(a) * x0 + np.sqrt(1 - a) * eps
    np.testing.assert_allclose(schedule.predicted_x0(eps, x_t, t, Prediction.EPS), x0, atol=1e-7)
    assert schedule.predicted_x0(x0, x_t, t, Prediction.X0) is x0


def test_cosine_squared_is_that_of_the_text_to_motion_lab() -> None:
    schedule = NoiseSchedule.make("cosine_squared", 100)
    a = schedule.alphas_cumprod
    assert a[0] == pytest.approx(0.9997532801828658, rel=1e-12)
    assert a[24] == pytest.approx(0.8535533905932737, rel=1e-12)
    assert a[49] == pytest.approx(0.5, rel=1e-12)
    assert a[98] == pytest.approx(np.cos(np.pi / 2 * 0.99) ** 2, rel=1e-9)


@pytest.mark.parametrize("steps", [10, 100, 1000])
def test_cosine_squared_keeps_a_trace_of_the_signal_at_the_last_step(steps: int) -> None:
    schedule = NoiseSchedule.make("cosine_squared", steps)
    last = np.array([steps - 1])
    assert schedule.alpha_bar(last)[0] == pytest.approx(MIN_ALPHA_BAR, rel=1e-6)
    assert np.isfinite(schedule.log_snr(np.arange(steps))).all()
    assert ((schedule.betas > 0) & (schedule.betas < 1)).all()
    x0, eps = np.random.default_rng(0).normal(size=(2, 1, 7, 3))
    a = schedule.alpha_bar(last)
    np.testing.assert_allclose(schedule.to_x0(np.sqrt(a) * x0 + np.sqrt(1 - a) * eps, last, eps), x0, atol=1e-7)


@pytest.mark.parametrize("sampler_name", ["ddim", "ddpm"])
@pytest.mark.parametrize("steps", [1, 2, 50, 100])
@pytest.mark.parametrize("name", SCHEDULES)
def test_samplers_end_at_what_a_perfect_network_knows(name: ScheduleName, steps: int, sampler_name: str) -> None:
    schedule, method = NoiseSchedule.make(name), sampler(sampler_name)
    rng = np.random.default_rng(0)
    x0, x = rng.normal(size=(2, 1, 7, 3))
    for t, t_prev in method.timesteps(schedule, steps):
        noise = rng.normal(size=x.shape)
        x = method.step(schedule, x, x0, np.array([t]), np.array([t_prev]), noise)
    np.testing.assert_allclose(x, x0, atol=1e-7)
