"""The pose VAEs: graph layer, shapes, exact bones, size and checkpoints."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from choreo.errors import InvalidArtifact
from choreo.models.pose_vae import (
    PARTS,
    WEIGHTS,
    GraphConvolution,
    PoseVae,
    PoseVaeConfig,
    load_pose_vae,
    num_parameters,
    posed,
    save_pose_vae,
)
from choreo.models.posterior import Posterior
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.rotations import axis_angle
from choreo.motion.skeleton import BONE_LENGTHS, NUM_JOINTS, PARENTS

KINDS: tuple[Literal["graph", "mlp"], ...] = ("graph", "mlp")


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> PoseVae:
    torch.manual_seed(1)
    return PoseVae(PoseVaeConfig(layers=request.param)).eval()


def test_graph_layer_is_that_of_dense_adjacency_matrices() -> None:
    torch.manual_seed(0)
    layer, x = GraphConvolution(5, 4), torch.randn(3, NUM_JOINTS, 5)
    up = torch.zeros(NUM_JOINTS, NUM_JOINTS)
    for joint, parent in enumerate(PARENTS[1:], 1):
        up[joint, parent] = 1
    down = up.T / up.T.sum(dim=1, keepdim=True).clamp(min=1)
    expected = layer.own(x) + layer.parent(up @ x) + layer.child(down @ x)
    torch.testing.assert_close(layer(x), expected)


def test_a_joint_without_neighbours_has_only_its_own_term() -> None:
    torch.manual_seed(0)
    layer, x = GraphConvolution(5, 4, parents=(-1, 0, -1)), torch.randn(2, 3, 5)
    torch.testing.assert_close(layer(x)[:, 2], layer.own(x[:, 2]))


def test_every_joint_belongs_to_one_part() -> None:
    assert sorted(joint for part in PARTS for joint in part) == list(range(NUM_JOINTS))


def test_shapes(model: PoseVae) -> None:
    posterior = model.encode(torch.randn(3, NUM_JOINTS, 3))
    assert posterior.mean.shape == posterior.log_variance.shape == (3, 7, 8)
    assert model.rotations(posterior.mean).shape == (3, NUM_JOINTS, 3, 3)
    assert model.decode(posterior.mean).shape == (3, NUM_JOINTS, 3)


def test_bones_are_exact_whatever_the_latents(model: PoseVae) -> None:
    positions = model.decode(10 * torch.randn(20, 7, 8)).detach()
    bones = (positions[:, 1:] - positions[:, list(PARENTS[1:])]).norm(dim=2)
    np.testing.assert_allclose(bones, np.broadcast_to(BONE_LENGTHS[1:], bones.shape), atol=1e-6)


def test_forward_kinematics_is_that_of_the_motion_package() -> None:
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(4, NUM_JOINTS, 3))
    local = axis_angle(axes / np.linalg.norm(axes, axis=2, keepdims=True), rng.normal(size=(4, NUM_JOINTS)))
    np.testing.assert_allclose(posed(torch.from_numpy(local)), forward_kinematics(np.zeros((4, 3)), local), atol=1e-9)


@pytest.mark.parametrize("widths", [(32, 64, 64), (8, 16, 24), (64, 128, 128)])
def test_the_mlp_has_the_size_of_the_graph(widths: tuple[int, int, int]) -> None:
    graph, mlp = (num_parameters(PoseVae(PoseVaeConfig(layers=kind, widths=widths))) for kind in KINDS)
    assert abs(mlp - graph) <= 0.05 * graph


def test_divergence_is_that_of_torch() -> None:
    posterior = Posterior(torch.randn(2, 7, 8), torch.randn(2, 7, 8))
    normal = torch.distributions.Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).mean(dim=2)
    torch.testing.assert_close(posterior.divergence(), expected)


def test_a_checkpoint_decodes_as_before(model: PoseVae, tmp_path: Path) -> None:
    save_pose_vae(tmp_path, model.config, model.state_dict())
    latents = torch.randn(2, 7, 8)
    torch.testing.assert_close(load_pose_vae(tmp_path).decode(latents), model.decode(latents))


def test_bad_checkpoints_are_refused(model: PoseVae, tmp_path: Path) -> None:
    with pytest.raises(InvalidArtifact, match="not a usable pose VAE"):
        load_pose_vae(tmp_path)
    other = PoseVaeConfig(layers="mlp" if model.config.layers == "graph" else "graph")
    save_pose_vae(tmp_path, other, model.state_dict())
    with pytest.raises(InvalidArtifact, match="not a usable pose VAE"):
        load_pose_vae(tmp_path)
    save_pose_vae(tmp_path, model.config, {k: v * torch.nan for k, v in model.state_dict().items()})
    with pytest.raises(InvalidArtifact, match="NaN"):
        load_pose_vae(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"broken")
    with pytest.raises(InvalidArtifact, match="not a usable pose VAE"):
        load_pose_vae(tmp_path)
