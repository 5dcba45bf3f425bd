"""A follower made frame by frame: causality, seeds, sharing calls, the common frame, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from small_duet import couples, small_duet

from choreo.errors import InvalidArtifact, InvalidInput, NonFiniteOutput
from choreo.generators.base import Conditioning, GenerationRequest, NotForThisModel, run, zeros
from choreo.generators.constraints import Constraints
from choreo.generators.duet.generator import DuetGenerator
from choreo.generators.duet.model import DuetNetwork
from choreo.generators.duet.trajectory import DuetTrajectory
from choreo.motion.clip import Motion
from choreo.motion.representation import decode
from choreo.motion.retarget import is_canonical

LEADER = couples()[0].dancers[0][:40]


def motion(positions: np.ndarray = LEADER, fps: float = 30.0) -> Motion:
    return Motion(positions.astype(np.float32), fps)


def made(network: DuetNetwork, *trajectories: DuetTrajectory) -> list[np.ndarray]:
    run(trajectories, network.evaluate, lambda graph, rows: zeros(network.spec.graph(graph), rows))
    return [np.stack([decode(dancer) for dancer in t.result()]) for t in trajectories]


def begin(network: DuetNetwork, **request: object) -> DuetTrajectory:
    wanted = GenerationRequest(**({"leader": motion()} | request))  # type: ignore[arg-type]
    trajectory = DuetGenerator(network.spec).begin(wanted, Conditioning(10**6))
    assert isinstance(trajectory, DuetTrajectory)
    return trajectory


@pytest.mark.parametrize("kind", ["vae", "pair"])
def test_two_dancers_in_one_frame_with_full_bones(kind: str) -> None:
    (both,) = made(network := small_duet(kind, std=0.05), begin(network := small_duet(kind, std=0.05)))
    assert both.shape == (2, 40, 22, 3)
    np.testing.assert_allclose(both[0], LEADER, atol=2e-3)
    assert is_canonical(both[1])
    assert network.spec.family == "duet"


def test_the_follower_depends_on_nothing_that_comes_later() -> None:
    network = small_duet("pair", std=0.05)
    ahead, noise = network.config.network.look_ahead, network.config.noise

    def follower(leader: np.ndarray) -> np.ndarray:
        return made(network, DuetTrajectory(network.spec, ahead, noise, leader, GenerationRequest()))[0][1]

    other = LEADER.copy()
    other[25:] += (0.3, 0, 0.2)
    changed = (follower(other) != follower(LEADER)).any(axis=(1, 2))
    assert not changed[: 25 - ahead].any()
    assert changed[25 - ahead :].all()


def test_requests_share_calls_without_changing_each_other() -> None:
    network = small_duet(std=0.1)
    alone = [made(network, begin(network, seed=seed))[0] for seed in (1, 2)]
    together = made(network, begin(network, seed=1), begin(network, seed=2, leader=motion(LEADER[:30])))
    np.testing.assert_allclose(together[0], alone[0], atol=1e-4)
    assert np.abs(alone[0][1] - alone[1][1]).max() > 1e-3


def test_a_moved_and_turned_leader_takes_the_follower_along() -> None:
    network = small_duet(std=0.1)
    place = (3.0, 0.0, -2.0)
    (here,), (there,) = made(network, begin(network)), made(network, begin(network, leader=motion(LEADER + place)))
    np.testing.assert_allclose(there[1] - place, here[1], atol=2e-3)


def test_a_leader_at_another_rate_is_resampled() -> None:
    network = small_duet(std=0.05)
    (both,) = made(network, begin(network, leader=motion(np.repeat(LEADER, 2, axis=0), 60.0)))
    assert both.shape[1] == 40


def test_what_cannot_be_followed_is_refused() -> None:
    network = small_duet()
    with pytest.raises(NotForThisModel, match="leader"):
        begin(network, leader=None)
    with pytest.raises(InvalidInput, match="leader: must last"):
        begin(network, leader=motion(LEADER[:1]))
    with pytest.raises(NotForThisModel, match="start"):
        begin(network, start=motion())
    with pytest.raises(NotForThisModel, match="constraints"):
        begin(network, constraints=Constraints(loop=True))


def test_nan_ends_the_request() -> None:
    network, trajectory = small_duet(), begin(small_duet())
    trajectory.add(0, {"next": np.full(135, np.nan, np.float32)})
    with pytest.raises(NonFiniteOutput, match="frame 1 of 40"):
        trajectory.advance()
    trajectory.repeat()
    assert not trajectory.complete
    assert network.spec.name == "small-duet"


def test_a_spec_of_another_graph_is_refused() -> None:
    spec = small_duet().spec
    with pytest.raises(InvalidArtifact, match="not that of a duet"):
        DuetGenerator(spec.model_copy(update={"parameters": {}}))
    with pytest.raises(InvalidArtifact, match="not those of this family"):
        DuetGenerator(spec.model_copy(update={"window": 17}))
    assert replace(GenerationRequest(), seed=3).seed == 3
