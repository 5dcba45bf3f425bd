import numpy as np
import torch
from tiny_training import clips

from choreo.data.windows import feature_statistics
from choreo.training.losses import LossWeights, MotionLoss


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
