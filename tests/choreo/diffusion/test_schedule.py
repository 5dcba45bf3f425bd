import numpy as np
import pytest

from choreo.diffusion.schedule import NoiseSchedule, Prediction, ScheduleName

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
