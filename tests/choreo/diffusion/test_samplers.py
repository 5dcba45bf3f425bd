import numpy as np
import pytest

from choreo.diffusion.ddim import Ddim
from choreo.diffusion.ddpm import Ddpm
from choreo.diffusion.dpm_solver import DpmSolver2M
from choreo.diffusion.lcm import Lcm
from choreo.diffusion.noise import INITIAL, gaussian
from choreo.diffusion.samplers import SAMPLERS as NAMES
from choreo.diffusion.samplers import sampler
from choreo.diffusion.schedule import NoiseSchedule, Prediction
from choreo.diffusion.step import Before, Sampler
from choreo.diffusion.timesteps import uniform
from choreo.errors import InvalidInput

SAMPLERS = [Ddim(), Ddim(eta=1.0), Ddpm(), DpmSolver2M(), Lcm()]
IDS = ["ddim", "ddim-eta-1", "ddpm", "dpm++2m", "lcm"]


@pytest.mark.parametrize("prediction", list(Prediction))
@pytest.mark.parametrize("steps", [1, 2, 4, 50])
@pytest.mark.parametrize("method", SAMPLERS, ids=IDS)
def test_an_oracle_is_recovered_by_every_sampler(method: Sampler, steps: int, prediction: Prediction) -> None:
    schedule = NoiseSchedule.make("cosine")
    rng = np.random.default_rng(1)
    truth, x = rng.normal(size=(3, 11, 4)), rng.normal(size=(3, 11, 4))
    before = None
    for t, t_prev in method.timesteps(schedule, steps):
        now = np.full(3, t)
        a = schedule.alphas_cumprod[t]
        output = truth if prediction is Prediction.X0 else (x - np.sqrt(a) * truth) / np.sqrt(1 - a)
        x0 = schedule.predicted_x0(output, x, now, prediction)
        x = method.step(schedule, x, x0, now, np.full(3, t_prev), rng.normal(size=x.shape), before)
        before = Before(x0, now)
    np.testing.assert_allclose(x, truth, atol=1e-5)


@pytest.mark.parametrize("method", SAMPLERS, ids=IDS)
def test_rows_at_different_timesteps_step_as_they_would_alone(method: Sampler) -> None:
    schedule = NoiseSchedule.make("cosine")
    rng = np.random.default_rng(2)
    x, x0, z = rng.normal(size=(3, 4, 6, 2))
    t, t_prev = np.array([999, 500, 40, 19]), np.array([979, 480, 20, -1])
    before = Before(rng.normal(size=x.shape), np.array([-1, 520, 60, 39]))
    together = method.step(schedule, x, x0, t, t_prev, z, before)
    for i in range(4):
        own = Before(before.x0[[i]], before.t[[i]])
        alone = method.step(schedule, x[[i]], x0[[i]], t[[i]], t_prev[[i]], z[[i]], own)
        np.testing.assert_array_equal(together[[i]], alone)


def test_the_posterior_variance_is_beta_tilde() -> None:
    schedule = NoiseSchedule.make("linear")
    t = np.arange(1, 1000)
    std = Ddpm().weights(schedule, t, t - 1, t).noise
    a = schedule.alphas_cumprod
    beta_tilde = schedule.betas[t] * (1 - a[t - 1]) / (1 - a[t])
    np.testing.assert_allclose(std**2, beta_tilde, rtol=1e-9)
    assert Ddpm().weights(schedule, np.array([0]), np.array([-1]), np.array([0])).noise[0] == 0


def test_ddim_with_eta_one_has_the_ddpm_variance() -> None:
    schedule = NoiseSchedule.make("cosine")
    t, t_prev = np.array([500]), np.array([480])
    zero, one = np.zeros((1, 1, 1)), np.ones((1, 1, 1))
    added = Ddim(eta=1.0).step(schedule, zero, zero, t, t_prev, one)
    assert added[0, 0, 0] == pytest.approx(Ddpm().weights(schedule, t, t_prev, t).noise[0], rel=1e-9)


def test_unknown_samplers_are_refused_by_field() -> None:
    with pytest.raises(InvalidInput, match="ddim, ddpm, dpm") as error:
        sampler("euler")
    assert error.value.field == "sampler"


def test_noise_is_a_function_of_its_address() -> None:
    whole = gaussian(7, 0, 400, 66, INITIAL)
    window = gaussian(7, 132, 196, 66, INITIAL)
    np.testing.assert_array_equal(whole[132:328], window)
    np.testing.assert_array_equal(gaussian(7, 0, 5, 3, 0), gaussian(7, 0, 5, 66, 0)[:, :3])
    for other in (
        gaussian(8, 132, 196, 66, INITIAL),
        gaussian(7, 132, 196, 66, 0),
        gaussian(7 + 2**40, 132, 196, 66, INITIAL),
    ):
        assert abs(np.corrcoef(window.ravel(), other.ravel())[0, 1]) < 0.05


def test_noise_is_standard_normal() -> None:
    from scipy.stats import kstest

    sample = gaussian(2**63, 0, 2000, 66, 3).ravel()
    assert np.isfinite(sample).all()
    assert kstest(sample, "norm").pvalue > 1e-3


def test_philox_matches_the_published_vectors() -> None:
    """Known answers of Random123 (Salmon et al. 2011), philox4x32-10."""
    from choreo.diffusion.noise import philox

    zeros = philox(np.zeros((1, 4), np.uint32), (0, 0))
    assert [hex(w) for w in zeros[0].tolist()] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
    ones = philox(np.full((1, 4), 0xFFFFFFFF, np.uint32), (0xFFFFFFFF, 0xFFFFFFFF))
    assert [hex(w) for w in ones[0].tolist()] == ["0x408f276d", "0x41c83b0e", "0xa20bc7c6", "0x6d5451fd"]


def gaussian_data_oracle(schedule: NoiseSchedule, x: np.ndarray, t: np.ndarray, std: float) -> np.ndarray:
    """E[x0 | x_t] where data is N(0, std^2): the exact denoiser of a problem whose ODE is known in closed form."""
    a = schedule.alpha_bar(t)[:, None]
    return np.sqrt(a) * std**2 / (a * std**2 + 1 - a) * x


@pytest.mark.parametrize("steps", [12, 25, 50])
def test_two_predictions_follow_the_ode_closer_than_one(steps: int) -> None:
    schedule, std = NoiseSchedule.make("cosine"), 0.4
    start = np.linspace(-2, 2, 9)[None]
    exact = start * std  # the flow scales x from the noise's deviation, 1, to that of the data
    off = {}
    for method in (Ddim(), DpmSolver2M()):
        x, before = start, None
        for t, t_prev in uniform(steps, 1000):
            now = np.array([t])
            x0 = gaussian_data_oracle(schedule, x, now, std)
            x = method.step(schedule, x, x0, now, np.array([t_prev]), None, before)
            before = Before(x0, now)
        off[method.name] = np.abs(x - exact).max()
    assert off["dpm++2m"] < 0.5 * off["ddim"]


def test_without_a_step_before_it_is_ddim() -> None:
    schedule = NoiseSchedule.make("cosine")
    rng = np.random.default_rng(5)
    x, x0 = rng.normal(size=(2, 3, 6, 2))
    t, t_prev = np.array([999, 500, 19]), np.array([900, 400, -1])
    expected = Ddim().step(schedule, x, x0, t, t_prev)
    np.testing.assert_allclose(DpmSolver2M().step(schedule, x, x0, t, t_prev), expected, atol=1e-9)
    none = Before(np.full_like(x, 7.0), np.full(3, -1))
    np.testing.assert_allclose(DpmSolver2M().step(schedule, x, x0, t, t_prev, None, none), expected, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_is_known_by_its_name(name: str) -> None:
    assert sampler(name).name == name


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_consistency_function_keeps_the_spread_of_the_data_whatever_the_steps(steps: int) -> None:
    """Of data N(0, std^2) the flow is known: f(x, t) = x std / deviation(t)."""
    schedule, std = NoiseSchedule.make("cosine"), 0.4
    rng = np.random.default_rng(6)
    x = rng.normal(size=(1, 40_000))
    for t, t_prev in Lcm().timesteps(schedule, steps):
        now = np.array([t])
        a = schedule.alpha_bar(now)[:, None]
        x0 = x * std / np.sqrt(a * std**2 + 1 - a)
        x = Lcm().step(schedule, x, x0, now, np.array([t_prev]), rng.normal(size=x.shape))
    assert x.std() == pytest.approx(std, rel=0.02)


def test_consistency_steps_keep_nothing_but_the_prediction() -> None:
    schedule = NoiseSchedule.make("cosine")
    rng = np.random.default_rng(7)
    x0, z, one, other = rng.normal(size=(4, 2, 6, 3))
    t, t_prev = np.array([999, 700]), np.array([700, 400])
    stepped = Lcm().step(schedule, one, x0, t, t_prev, z)
    np.testing.assert_array_equal(stepped, Lcm().step(schedule, other, x0, t, t_prev, z))
    a = schedule.alphas_cumprod[t_prev][:, None, None]
    np.testing.assert_allclose(stepped, np.sqrt(a) * x0 + np.sqrt(1 - a) * z)
