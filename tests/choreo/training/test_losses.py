import numpy as np
import pytest
import torch
from tiny_training import clips

from choreo.data.windows.windows import feature_statistics
from choreo.training.losses import LossWeights, MotionLoss, NoiseLevel


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


def test_errors_count_in_units_of_what_a_linear_denoiser_errs_by() -> None:
    loss, x = the_loss_and_its_data()
    mask, off = torch.ones(3, 100), x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    plain = loss(off, x, mask)
    noise = NoiseLevel(torch.full((3,), 0.5), torch.full((3,), 0.25), torch.full((3,), 0.1))
    scaled = loss(off, x, mask, noise)
    assert float(scaled["reconstruction"]) == pytest.approx(4 * float(plain["reconstruction"]), rel=1e-5)
    assert float(scaled["velocity"]) == pytest.approx(10 * float(plain["velocity"]), rel=1e-5)


def test_the_noisier_a_row_the_less_do_feet_and_bones_count() -> None:
    loss, x = the_loss_and_its_data()
    mask, off, one = torch.ones(3, 100), x * 1.1, torch.ones(3)
    off[:2] = x[:2]
    assert float(loss(off, x, mask)["bone"]) > 1e-5
    noisy = NoiseLevel(torch.tensor([1.0, 1.0, 0.01]), one, one)
    assert float(loss(off, x, mask, noisy)["bone"]) < 1e-3 * float(loss(off, x, mask)["bone"])
