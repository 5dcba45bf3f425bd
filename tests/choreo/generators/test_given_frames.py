"""What constraints mean for the frames of one motion, and a trajectory that keeps to them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from second_representation import POSITIONS_AND_VELOCITIES
from tiny_training import clips, recipe

from choreo.errors import InvalidInput
from choreo.generators.base import Conditioning, GenerationRequest, run, zeros
from choreo.generators.constraints import Constraints, KeyPose, root_of
from choreo.generators.given_frames import given_frames, known_frames, led
from choreo.generators.registry import generator
from choreo.generators.unet.training import generator_config
from choreo.motion.clip import Motion
from choreo.motion.representation import ROOT_VELOCITY_66 as R
from choreo.motion.representation import Representation

EACH = pytest.mark.parametrize("motion", [R, POSITIONS_AND_VELOCITIES], ids=lambda r: r.name)
DANCE = clips()[0].positions()
"""(240, 22, 3)."""
SPEC = generator_config(recipe(), clips()).spec


def key(frame: int, of: int | None = None) -> KeyPose:
    return KeyPose(frame, DANCE[frame if of is None else of], "constraints.keyframes.0")


def clip(frames: slice) -> Motion:
    return Motion(DANCE[frames].astype(np.float32))


@EACH
def test_lone_poses_give_no_velocity_and_neighbours_do(motion: Representation) -> None:
    made = given_frames(None, Constraints(key_poses=(key(10), key(20), key(21))), 60, 30)
    known, mask = known_frames(made, 80, motion)
    assert list(np.flatnonzero(mask.any(axis=1))) == [10, 20, 21]
    velocity = mask[:, motion.unknown_in_a_lone_pose].any(axis=1)
    assert list(np.flatnonzero(velocity)) == [21]
    np.testing.assert_allclose(motion.joints_of(known[[10, 20]]), (DANCE - DANCE[:, :1])[[10, 20], 1:], atol=1e-9)
    np.testing.assert_allclose(motion.root_velocity_of(known[21]), 30 * (root_of(DANCE[21]) - root_of(DANCE[20])))
    assert not known[mask == 0].any()


@EACH
def test_a_path_is_known_where_it_leads_and_goes_through_its_points(motion: Representation) -> None:
    path = np.array([[1.0, 0, 0], [2.0, 1, 0], [3.0, 1, 2]])
    made = given_frames(None, Constraints(path=path), 120, 30)
    assert list(np.flatnonzero(made.placed)) == list(range(30, 91))
    np.testing.assert_allclose(made.root[[30, 60, 90]], path[:, 1:], atol=1e-9)
    known, mask = known_frames(made, 120, motion)
    assert list(np.flatnonzero(mask[:, motion.root_velocity].all(axis=1))) == list(range(31, 91))
    assert not mask[:, motion.joints].any()
    travelled = known[:, motion.root_velocity].sum(axis=0) / 30
    np.testing.assert_allclose(travelled, [1, 2], atol=1e-9)


def test_a_path_places_the_poses_on_it() -> None:
    path = np.array([[0.0, 3, 3], [3.0, 4, 3]])
    made = given_frames(None, Constraints(key_poses=(key(60),), path=path), 120, 30)
    np.testing.assert_allclose(root_of(made.positions[60]), made.root[60])
    assert made.root[60, 1] == 3
    np.testing.assert_allclose(made.positions[60] - made.positions[60, :1], DANCE[60] - DANCE[60, :1], atol=1e-6)


def test_a_path_may_not_lead_away_from_a_given_clip() -> None:
    path = np.array([[0.0, 3, 3], [3.0, 4, 3]])
    with pytest.raises(InvalidInput, match="frame 29") as caught:
        given_frames(clip(slice(0, 30)), Constraints(path=path), 120, 30)
    assert caught.value.field == "constraints.path"


def test_one_spot_is_where_a_start_ends() -> None:
    made = given_frames(clip(slice(0, 30)), Constraints(in_place=True, key_poses=(key(90),)), 120, 30)
    spot = root_of(DANCE[29])
    np.testing.assert_allclose(made.root[29:], np.tile(spot, (91, 1)), atol=1e-6)
    np.testing.assert_allclose(root_of(made.positions[90]), spot, atol=1e-6)
    assert given_frames(None, Constraints(in_place=True), 50, 30).root.tolist() == [[0, 0]] * 50


def test_places_that_only_a_car_reaches_are_refused() -> None:
    far = KeyPose(60, DANCE[60] + [20, 0, 0], "constraints.keyframes.1")
    with pytest.raises(InvalidInput, match="from frame 30 to frame 60"):
        given_frames(None, Constraints(key_poses=(key(30), far)), 120, 30)


def test_a_loop_with_a_start_ends_with_its_first_pose() -> None:
    made = given_frames(clip(slice(0, 10)), Constraints(loop=True), 100, 30)
    np.testing.assert_allclose(made.positions[-1], made.positions[0])
    assert not made.loop  # nothing is left to lead together
    assert given_frames(None, Constraints(loop=True), 100, 30).loop


@EACH
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), frames=st.lists(st.integers(0, 99), min_size=2, max_size=5, unique=True))
def test_predictions_arrive_where_the_root_is_given(motion: Representation, seed: int, frames: list[int]) -> None:
    keys = tuple(key(frame, of=min(100 + frame // 4, 239)) for frame in sorted(frames))
    made = given_frames(None, Constraints(key_poses=keys), 100, 30)
    features = np.random.default_rng(seed).normal(0, 1, (120, motion.channels))
    out = led(features, made, motion)
    places = np.cumsum(motion.root_velocity_of(out), axis=0) / 30
    for a, b, way in made.legs():
        np.testing.assert_allclose(places[b] - places[a], way, atol=1e-9)
    others = np.delete(np.arange(motion.channels), np.arange(motion.channels)[motion.root_velocity])
    np.testing.assert_array_equal(out[:, others], features[:, others])
    np.testing.assert_array_equal(out[100:], features[100:])


def test_the_ends_of_a_loop_meet() -> None:
    made = given_frames(None, Constraints(loop=True), 100, 30)
    out = led(np.random.default_rng(0).normal(0, 1, (120, R.channels)), made, R)
    np.testing.assert_allclose(out[0, 2:], out[99, 2:], atol=1e-9)
    np.testing.assert_allclose(R.root_velocity_of(out[1:100]).sum(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize(
    ("start", "constraints"),
    [
        (slice(0, 20), Constraints(end=clip(slice(60, 80)))),
        (None, Constraints(key_poses=(key(30), key(100), key(170)))),
        (None, Constraints(clip=clip(slice(0, 200)), hold=((0, 40), (90, 110), (180, 199)))),
        (slice(0, 1), Constraints(loop=True)),
        (None, Constraints(path=np.array([[0.0, 0, 0], [2.0, 2, 0], [6.0, 2, 4]]), key_poses=(key(90),))),
    ],
    ids=["start and end", "key poses", "hold", "loop", "path"],
)
@pytest.mark.parametrize("frames", [200, 350])
def test_a_trajectory_keeps_to_what_is_given_over_all_windows(
    start: slice | None, constraints: Constraints, frames: int
) -> None:
    request = GenerationRequest(
        num_steps=3, guidance_scale=2.0, start=None if start is None else clip(start), constraints=constraints
    )
    trajectory: Any = generator(SPEC).begin(request, Conditioning(frames))
    rng = np.random.default_rng(1)

    def fake_evaluate(graph: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = len(next(iter(inputs.values())))
        outputs = SPEC.graph(graph).output_shapes
        return {name: rng.normal(0, 0.3, (rows, *shape)).astype(np.float32) for name, shape in outputs.items()}

    run([trajectory], fake_evaluate, lambda graph, rows: zeros(SPEC.graph(graph), rows))
    made = given_frames(request.start, constraints, frames, 30)
    positions = made.moved_to_place(R.decode(trajectory.result()))
    assert made.placed.sum() > 1
    np.testing.assert_allclose(positions[made.posed], made.positions[made.posed], atol=2e-3)
    np.testing.assert_allclose(root_of(positions)[made.placed], made.root[made.placed], atol=2e-3)


def test_a_generator_without_known_frames_refuses_constraints() -> None:
    graphs = []
    for graph in SPEC.graphs:
        inputs = tuple(tensor for tensor in graph.inputs if not tensor.name.startswith("known"))
        graphs.append(graph.model_copy(update={"inputs": inputs}))
    plain = generator(SPEC.model_copy(update={"graphs": tuple(graphs)}))
    with pytest.raises(InvalidInput, match="takes no given frames"):
        plain.begin(GenerationRequest(constraints=Constraints(loop=True)), Conditioning(100))
    plain.begin(GenerationRequest(), Conditioning(100))
