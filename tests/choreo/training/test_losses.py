import numpy as np
import pytest
import torch
from tiny_training import clips

from choreo.data.windows import feature_statistics
from choreo.diffusion.schedule import NoiseSchedule
from choreo.training.losses import LossWeights, MotionLoss, timestep_weights


def the_loss_and_its_data() -> tuple[MotionLoss, torch.Tensor]:
    data = clips()
    mean, std = (torch.tensor(v) for v in feature_statistics(data))
    x = np.stack([(c.features[:100] - mean.numpy()) / std.numpy() for c in data])
    return MotionLoss(LossWeights(), mean, std), torch.tensor(x, dtype=torch.float32)


def test_the_loss_of_the_truth_is_the_bone_error_of_the_truth_alone() -> None:
    loss, x = the_loss_and_its_data()
    terms = loss(x, x, torch.ones(3, 100))
    assert float(terms["reconstruction"]) == float(terms["velocity"]) == 0
    assert float(terms["bone"]) < 1e-9
    longer = x.clone()
    longer[..., 3:] += 0.5
    assert float(loss(longer, x, torch.ones(3, 100))["bone"]) > 1e-4


def test_rows_count_by_their_weights() -> None:
    loss, x = the_loss_and_its_data()
    wrong, mask = x.clone(), torch.ones(3, 100)
    wrong[1] += 1
    plain = loss(wrong, x, mask)
    only_the_others = loss(wrong, x, mask, None, torch.tensor([1.5, 0.0, 1.5]))
    twice = loss(wrong, x, mask, None, torch.tensor([0.5, 2.0, 0.5]))
    assert float(only_the_others["reconstruction"]) == 0
    assert float(twice["reconstruction"]) == pytest.approx(2 * float(plain["reconstruction"]))
    assert float(twice["bone"]) == float(plain["bone"])


def test_timesteps_are_weighted_by_their_signal_up_to_a_bound() -> None:
    alphas_cumprod = torch.from_numpy(NoiseSchedule.make("cosine").alphas_cumprod).float()
    weights = timestep_weights(alphas_cumprod, 5.0)
    assert float(weights.mean()) == pytest.approx(1)
    assert (weights.diff() <= 0).all()
    bounded = alphas_cumprod / (1 - alphas_cumprod) >= 5
    assert (weights[bounded] == weights[0]).all()
    assert float(weights[500] / weights[0]) == pytest.approx(float(alphas_cumprod[500] / (1 - alphas_cumprod[500])) / 5)
    assert (timestep_weights(alphas_cumprod, None) == 1).all()
