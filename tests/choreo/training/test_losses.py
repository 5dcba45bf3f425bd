import numpy as np
import pytest
import torch
from second_representation import POSITIONS_AND_VELOCITIES
from tiny_training import clips

from choreo.data.synthetic.dances import synthesize_dance
from choreo.data.windows.windows import feature_statistics
from choreo.motion.representation import ROOT_VELOCITY_66, ROOT_VELOCITY_70
from choreo.training.losses import LossWeights, MotionLoss, NoiseLevel, beat_closeness


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


def test_contact_channels_count_by_themselves_at_any_noise() -> None:
    motion, _, _ = synthesize_dance("side_step", 100.0, 3.4)
    features, _ = ROOT_VELOCITY_70.encode(motion.positions)
    x = torch.tensor(features, dtype=torch.float32)[None]
    loss = MotionLoss(LossWeights(), torch.zeros(70), torch.ones(70), representation=ROOT_VELOCITY_70)
    off = x.clone()
    off[..., 66:] += 0.5
    noise = NoiseLevel(torch.tensor([0.01]), torch.tensor([0.1]), torch.tensor([0.1]))
    for level in (None, noise):
        terms = loss(off, x, torch.ones(1, x.shape[1]), level)
        assert float(terms["contact_channels"]) == pytest.approx(0.25, rel=1e-5)
        assert float(terms["reconstruction"]) == float(terms["velocity"]) == 0
    plain = MotionLoss(LossWeights(), torch.zeros(66), torch.ones(66))
    assert float(plain(off[..., :66] + 1, x[..., :66], torch.ones(1, x.shape[1]))["contact_channels"]) == 0


def test_the_noisier_a_row_the_less_do_feet_and_bones_count() -> None:
    loss, x = the_loss_and_its_data()
    mask, off, one = torch.ones(3, 100), x * 1.1, torch.ones(3)
    off[:2] = x[:2]
    assert float(loss(off, x, mask)["bone"]) > 1e-5
    noisy = NoiseLevel(torch.tensor([1.0, 1.0, 0.01]), one, one)
    assert float(loss(off, x, mask, noisy)["bone"]) < 1e-3 * float(loss(off, x, mask)["bone"])


def test_bones_and_feet_count_the_same_in_any_representation() -> None:
    """Of a dance whose feet are planted, and a prediction that slides and stretches."""
    motion, _, _ = synthesize_dance("side_step", 100.0, 3.4)
    truth = motion.positions.astype(np.float64)
    slid = truth * 1.05 + np.arange(len(truth))[:, None, None] * (0.01, 0, 0)
    found = []
    for r in (ROOT_VELOCITY_66, POSITIONS_AND_VELOCITIES):
        mean, std = (torch.tensor(v) for v in r.statistics(r.encode(truth)[0]))
        x, y = ((torch.tensor(r.encode(p)[0])[None].float() - mean.float()) / std.float() for p in (slid, truth))
        x.requires_grad_()
        terms = MotionLoss(LossWeights(), mean, std, representation=r)(x, y, torch.ones(1, len(truth)))
        terms["total"].backward()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()
        found.append([float(terms[name].detach()) for name in ("bone", "contact")])
    assert min(found[0]) > 1e-4
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_the_velocity_of_the_root_weighs_as_much_as_it_should() -> None:
    for r in (ROOT_VELOCITY_66, POSITIONS_AND_VELOCITIES):
        loss = MotionLoss(LossWeights(root=5.0), torch.zeros(r.channels), torch.ones(r.channels), representation=r)
        x, mask = torch.zeros(1, 9, r.channels), torch.ones(1, 9)
        root, other = x.clone(), x.clone()
        root[..., r.root_velocity.start] = 1
        other[..., -1] = 1
        errors = [float(loss(y, x, mask)["reconstruction"]) for y in (root, other)]
        assert errors[0] == pytest.approx(5 * errors[1])


def test_closeness_to_a_beat_is_these_numbers() -> None:
    phase = torch.tensor([0.0, 0.05, -0.1, 0.5])
    rhythm = torch.stack([torch.sin(2 * torch.pi * phase), torch.cos(2 * torch.pi * phase)], dim=-1)
    expected = [1.0, 0.8824969, 0.6065307, 3.7267e-6]
    np.testing.assert_allclose(beat_closeness(rhythm), expected, rtol=1e-3)
    assert not beat_closeness(torch.zeros(2, 3, 8)).any()


def test_errors_of_velocity_count_near_beats_only() -> None:
    data = clips()
    mean, std = (torch.tensor(v) for v in feature_statistics(data))
    loss = MotionLoss(LossWeights(beat=2.0), mean, std)
    x = torch.tensor((data[0].features[None, :20] - mean.numpy()) / std.numpy(), dtype=torch.float32)
    off = x.clone()
    off[0, 10, ROOT_VELOCITY_66.root_velocity] += 0.5 / loss.std[ROOT_VELOCITY_66.root_velocity]  # m/s, x and z
    rhythm = torch.zeros(1, 20, 8)
    assert float(loss(off, x, torch.ones(1, 20), rhythm=rhythm)["beat"]) == 0
    rhythm[0, 10, 1] = 1
    terms = loss(off, x, torch.ones(1, 20), rhythm=rhythm)
    assert float(terms["beat"]) == pytest.approx(0.5, rel=1e-3)
    assert float(terms["total"] - loss(off, x, torch.ones(1, 20))["total"]) == pytest.approx(1.0, rel=1e-3)
    rhythm[0, 10, 1], rhythm[0, 5, 1] = 0, 1
    assert float(loss(off, x, torch.ones(1, 20), rhythm=rhythm)["beat"]) == pytest.approx(0, abs=1e-6)
