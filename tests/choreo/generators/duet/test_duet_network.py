"""The follower's networks: what they may see, what they learn from, and bones that keep their lengths."""

import numpy as np
import pytest
import torch
from small_duet import inputs_of, small_duet

from choreo.generators.duet.network import joints_of, relation_of
from choreo.motion.pose_states import positions_of
from choreo.motion.rotations import yaw

KINDS = ("vae", "pair")


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_decoder_cannot_see_the_future(kind: str) -> None:
    network = small_duet(kind)
    inputs, ahead = inputs_of(network, 2), network.config.network.look_ahead
    expected = network(inputs)[0]
    for at in (1, 5, 15):
        spoilt = {name: values.clone() for name, values in inputs.items()}
        spoilt["states"][:, at:] += 1
        spoilt["noise"][:, at:] += 1
        spoilt["leader"][:, at + 1 + ahead :] += 1
        made = network(spoilt)[0]
        torch.testing.assert_close(made[:, :at], expected[:, :at], atol=1e-5, rtol=1e-5)
        assert (made[:, at:] - expected[:, at:]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_it_sees_the_leader_as_far_ahead_as_it_says(kind: str) -> None:
    network = small_duet(kind)
    inputs = inputs_of(network, 1)
    leader = inputs["leader"].mul_(0.1).requires_grad_(True)
    network(inputs)[0][:, 3].square().sum().backward()
    assert leader.grad is not None
    seen = leader.grad.abs().amax(dim=(0, 2)) > 0
    assert int(seen.nonzero().max()) == 3 + 1 + network.config.network.look_ahead


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_row_does_not_depend_on_the_others(kind: str) -> None:
    network = small_duet(kind)
    inputs = inputs_of(network, 3)
    alone = network({name: values[1:2] for name, values in inputs.items()})[0]
    torch.testing.assert_close(network(inputs)[0][1:2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_states_before_the_dance_do_not_matter(kind: str) -> None:
    network = small_duet(kind)
    inputs = inputs_of(network, 1)
    inputs["known"][:, :7] = 0
    other = inputs | {"states": inputs["states"].clone()}
    other["states"][:, :7] = 9
    torch.testing.assert_close(network(inputs)[0], network(other)[0])


@torch.no_grad()
def test_the_role_chooses_the_autoencoder_of_the_given_dancer() -> None:
    network = small_duet("vae")
    inputs = inputs_of(network, 1)
    follows = inputs | {"role": torch.ones_like(inputs["role"])}
    assert (network(follows)[0] - network(inputs)[0]).abs().max() > 1e-4
    pair = small_duet("pair")
    torch.testing.assert_close(pair(follows)[0], pair(inputs)[0])


def test_joints_are_those_of_the_states() -> None:
    states = torch.randn(2, 4, 135)
    np.testing.assert_allclose(joints_of(states).numpy(), positions_of(states.numpy()), atol=1e-5)


def test_what_is_between_two_dancers_has_a_direction() -> None:
    rng = np.random.default_rng(0)
    leader, follower = (joints_of(torch.from_numpy(rng.normal(size=(1, 3, 135)))) for _ in range(2))
    turn = torch.from_numpy(yaw(1.3))
    seen = relation_of(leader, follower)[..., -4:]
    torch.testing.assert_close(relation_of(leader @ turn.T, follower @ turn.T)[..., -4:], seen)
    assert (relation_of(follower, leader)[..., -4:] - seen).abs().max() > 0.1
