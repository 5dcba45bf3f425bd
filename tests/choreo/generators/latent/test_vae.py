"""The motion VAE: its shapes, its posterior, and what its windows have in common."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from small_latent import CHANNELS, SCALE, small_config, small_latent, small_latent_spec, small_vae
from torch.distributions import Normal, kl_divergence

from choreo.generators.latent.config import VaeConfig
from choreo.generators.latent.vae import LOG_VARIANCE, MlpDecoder, MotionDecoder, MotionEncoder, MotionVae
from choreo.models.posterior import Posterior


def noisy(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module.eval()


@pytest.mark.parametrize(
    ("config", "latent"),
    [
        (VaeConfig(width=16), (16, 32)),
        (VaeConfig(width=16, window=200, tokens=1, channels=256), (1, 256)),
        (VaeConfig(width=16, window=200, tokens=1, channels=256, decoder="mlp"), (1, 256)),
        (VaeConfig(width=16, representation="root-velocity-70", frame_channels=70), (16, 32)),
    ],
)
@torch.no_grad()
def test_latents_have_the_configured_size_and_motion_comes_back(config: VaeConfig, latent: tuple[int, int]) -> None:
    vae = MotionVae(config).eval()
    motion = torch.randn(3, config.window, config.frame_channels)
    whole = torch.ones_like(motion)
    made = vae(motion, whole, whole)
    assert made.posterior.mean.shape == made.posterior.log_variance.shape == (3, *latent)
    assert made.whole.shape == made.given.shape == motion.shape
    torch.testing.assert_close(made.whole, made.given)  # everything is given, and both are of the mean


@torch.no_grad()
def test_the_divergence_is_that_of_torch() -> None:
    mean, log_variance = torch.randn(2, 5, 7), torch.randn(2, 5, 7)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).mean(dim=2)
    torch.testing.assert_close(Posterior(mean, log_variance).divergence(), expected)
    assert Posterior(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3)).divergence().item() == 0


@torch.no_grad()
def test_samples_have_the_moments_of_the_posterior() -> None:
    torch.manual_seed(0)
    posterior = Posterior(torch.full((1, 1, 200_000), 2.0), torch.full((1, 1, 200_000), np.log(9.0)))
    drawn = posterior.sample()
    assert drawn.mean().item() == pytest.approx(2, abs=0.03)
    assert drawn.std().item() == pytest.approx(3, abs=0.03)


@torch.no_grad()
def test_a_posterior_is_bounded_and_its_mean_is_used_outside_of_training() -> None:
    vae = noisy(MotionVae(small_vae()))
    motion = torch.randn(2, 256, 66) * 1000
    whole = torch.ones_like(motion)
    first, second = vae(motion, whole, whole), vae(motion, whole, whole)
    assert (
        LOG_VARIANCE[0] <= first.posterior.log_variance.min() <= first.posterior.log_variance.max() <= LOG_VARIANCE[1]
    )
    torch.testing.assert_close(first.whole, second.whole, rtol=0, atol=0)
    vae.train()
    assert (vae(motion, whole, whole).whole - first.whole).abs().max() > 0


@torch.no_grad()
def test_what_is_not_known_does_not_matter() -> None:
    encoder = noisy(MotionEncoder(small_vae()))
    mask = (torch.rand(1, 256, 66) < 0.3).float()
    one, other = torch.randn(2, 1, 256, 66)
    same = mask * one + (1 - mask) * other
    for a, b in zip(encoder(one, mask), encoder(same, mask), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@torch.no_grad()
def test_a_decoded_frame_depends_on_no_more_than_the_reach_says() -> None:
    """Found by changing one token at a time: the oracle of `VaeConfig.reach`."""
    config = small_vae()
    decoder = noisy(MotionDecoder(config))
    latents = torch.randn(1, config.tokens, config.channels)
    plain = decoder(latents)
    furthest = 0
    for token in range(config.tokens):
        changed = latents.clone()
        changed[:, token] += 1
        frames = (decoder(changed) - plain).abs().amax(dim=(0, 2)).nonzero().flatten()
        first, last = token * config.token_frames, (token + 1) * config.token_frames - 1
        furthest = max(furthest, first - int(frames.min()), int(frames.max()) - last)
    assert furthest == config.reach


@torch.no_grad()
def test_windows_that_share_tokens_are_decoded_alike_away_from_their_ends() -> None:
    config = small_vae()
    decoder = noisy(MotionDecoder(config))
    latents = torch.randn(1, 28, config.channels)
    whole = decoder(latents)
    assert whole.shape[1] == 28 * config.token_frames
    part = decoder(latents[:, 12:])
    middle = slice(config.reach, 256 - config.reach)
    torch.testing.assert_close(part[:, middle], whole[:, 12 * 16 :][:, middle], rtol=0, atol=1e-5)
    assert (part - whole[:, 12 * 16 :])[:, 0].abs().max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"window": 250}, "window must be a multiple of 64"),
        ({"overlap": 3}, "overlap must be 4 tokens or more"),
        ({"overlap": 9}, "overlap must be at most half of the 16 tokens"),
        ({"decoder": "mlp"}, "decoder: mlp is for a single token"),
        ({"tokens": 1, "overlap": 2}, "overlap must be 0 for a single token"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        small_vae(**changes)


@torch.no_grad()
def test_graphs_see_scaled_latents() -> None:
    network = small_latent()
    motion = torch.randn(2, 256, 66)
    given, share = network.encoder(motion, torch.ones_like(motion))
    mean, _ = network.encoder.network(motion, torch.ones_like(motion))
    torch.testing.assert_close(given * SCALE.latent_std[0] + SCALE.latent_mean[0], mean)
    torch.testing.assert_close(network.decoder(given), network.decoder.network(mean))
    assert (share == 1).all()


@torch.no_grad()
def test_tokens_of_which_nothing_is_known_are_zero() -> None:
    network = small_latent()
    mask = torch.zeros(1, 256, 66)
    mask[:, :24] = 1
    given, share = network.encoder(torch.randn(1, 256, 66), mask)
    np.testing.assert_allclose(share[0, :4, 0], [1, 0.5, 0, 0])
    assert given[0, 1].abs().min() > 0
    assert not given[0, 2:].any()


def test_the_mlp_decodes_the_whole_window_from_one_token() -> None:
    single = small_vae(window=200, tokens=1, channels=CHANNELS, decoder="mlp", overlap=0)
    config = small_config(small_latent_spec(window=200, tokens=1, overlap=0), single)
    network = small_latent(config)
    assert isinstance(network.decoder.network, MlpDecoder)
    assert network.decoder(torch.randn(5, 1, CHANNELS)).shape == (5, 200, 66)
