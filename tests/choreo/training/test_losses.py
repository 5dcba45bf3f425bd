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
    weights = timestep_weights(alphas_cumprod, 50.0)
    assert float(weights.max()) == 50
    assert float(weights.min()) == pytest.approx(1, abs=1e-4)
    # An error e in v is an error sqrt(1 - abar) e in x0: below the bound the weighted one is e again.
    free = weights < 50
    torch.testing.assert_close(weights[free] * (1 - alphas_cumprod[free]), torch.ones(int(free.sum())))
    assert (timestep_weights(alphas_cumprod, None) == 1).all()
