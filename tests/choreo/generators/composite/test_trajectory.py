"""A request through language model, decoder and U-Net: phases, key poses, given frames, and independence."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_composite import CODES, CONTEXT, small_composite, small_composite_spec, small_config, small_tokenizer

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.base import Conditioning, GenerationRequest, NotForThisModel, Tensors, run, zeros
from choreo.generators.composite.generator import CompositeGenerator
from choreo.generators.composite.gpt import Heard
from choreo.generators.composite.graphs import PlanParameters
from choreo.generators.composite.model import CompositeNetwork
from choreo.generators.composite.trajectory import CompositeTrajectory
from choreo.generators.constraints import Constraints, key_pose
from choreo.generators.registry import generator
from choreo.generators.text_segments import TextSegment
from choreo.motion.clip import Motion
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.representation import decode
from choreo.motion.rotations import yaw
from choreo.motion.skeleton import FPS

NETWORK = small_composite()
SPEC = NETWORK.spec


class Recorded:
    """A network that remembers its calls."""

    def __init__(self, network: CompositeNetwork = NETWORK) -> None:
        self.network, self.calls = network, list[tuple[str, Tensors]]()

    def __call__(self, graph: str, inputs: Tensors) -> Tensors:
        self.calls.append((graph, {name: values.copy() for name, values in inputs.items()}))
        return self.network.evaluate(graph, inputs)

    def of(self, graph: str) -> list[Tensors]:
        return [inputs for name, inputs in self.calls if name == graph]


def begin(request: GenerationRequest, conditioning: Conditioning) -> CompositeTrajectory:
    made = generator(SPEC)
    assert isinstance(made, CompositeGenerator)
    return made.begin(request, conditioning)


def dance(
    request: GenerationRequest, conditioning: Conditioning, evaluate: Recorded | None = None
) -> CompositeTrajectory:
    trajectory = begin(request, conditioning)
    run([trajectory], evaluate or Recorded(), lambda graph, rows: zeros(SPEC.graph(graph), rows))
    return trajectory


def song(frames: int, seed: int = 0) -> Conditioning:
    rng = np.random.default_rng(seed)
    music = rng.normal(size=(frames, 35)).astype(np.float32)
    beats = np.arange(0.25, frames / FPS, 0.5)
    return Conditioning(frames, music, rng.normal(size=8).astype(np.float32), beats, np.ones(frames, np.float32))


def walk(frames: int, turn: float = 0.0) -> Motion:
    """A standing body that glides and turns slowly."""
    time = np.arange(frames)
    root = np.stack([3 + 0.01 * time, np.full(frames, 0.95), 0.005 * time - 2], axis=1)
    local = np.tile(np.eye(3), (frames, 22, 1, 1))
    local[:, 0] = yaw(0.01 * time + turn)
    return Motion(forward_kinematics(root, local).astype(np.float32), FPS)


def few(**changes: object) -> GenerationRequest:
    return GenerationRequest(num_steps=2, **changes)  # type: ignore[arg-type]


def test_a_request_goes_through_all_graphs() -> None:
    recorded = Recorded()
    trajectory = dance(few(guidance_scale=2.0), song(300), recorded)
    assert trajectory.evaluated == {"gpt": 75, "decoder": 12, "conditioner": 3, "denoiser": 2 * 2 * 2}
    assert [graph for graph, _ in recorded.calls] == ["gpt"] * 75 + ["decoder", "conditioner", "denoiser", "denoiser"]
    assert trajectory.result().shape == (300, 66)
    assert trajectory.done
    assert trajectory.rows == 0
    assert len(trajectory.tokens) == 75
    assert set(trajectory.tokens) <= set(range(CODES))


@pytest.mark.parametrize("conditioning", [song(300), Conditioning(299), Conditioning(3), song(1)])
def test_key_poses_are_met(conditioning: Conditioning) -> None:
    """Within 3 cm before finishing: pose and place of every key pose, on the beats where there are any."""
    trajectory = dance(few(), conditioning)
    planned, made = trajectory.key_poses, decode(trajectory.result())
    error = np.linalg.norm(made[planned.frames] - planned.positions, axis=-1)
    assert error.max() < 0.03
    assert len(planned.frames) == len(planned.positions) >= 1 or conditioning.num_frames < 4


def test_key_poses_are_on_the_beats() -> None:
    planned = dance(few(), song(300)).key_poses
    beats = np.rint(np.arange(0.25, 10, 0.5) * FPS)
    assert set(beats) <= set(planned.frames)
    assert np.diff(planned.frames).max() <= 16
    np.testing.assert_array_equal(dance(few(), Conditioning(100)).key_poses.frames, np.arange(0, 100, 16))


def test_tokens_are_those_of_full_attention() -> None:
    """The cache of the served step, beyond its length, against the network that is trained on whole sequences."""
    trajectory, conditioning = begin(few(seed=5), song(200)), song(200)
    logits = []
    while trajectory.graph == "gpt":
        inputs = zeros(SPEC.graph("gpt"), 1)
        trajectory.fill_step(0, inputs, 0)
        outputs = NETWORK.evaluate("gpt", inputs)
        logits.append(outputs["logits"][0])
        trajectory.add(0, {name: values[0] for name, values in outputs.items()})
        trajectory.advance()
    assert len(logits) == 50 > 4 * CONTEXT
    tokens = torch.tensor([[CODES, *trajectory.tokens[:-1]]])
    assert conditioning.music is not None
    assert conditioning.text is not None
    from choreo.music.beats import beat_phase_channels

    rhythm = beat_phase_channels(conditioning.beats, conditioning.onset, 200, FPS)[:, :4]
    heard = Heard(
        torch.from_numpy(conditioning.music).reshape(1, 50, 4, 35),
        torch.ones(1, 50, 4),
        torch.from_numpy(rhythm).reshape(1, 50, 4, 4),
        torch.from_numpy(conditioning.text).expand(1, 50, 8),
        torch.ones(1, 50, 1),
    )
    with torch.no_grad():
        whole = NETWORK.gpt(tokens, heard)[0].numpy()
    np.testing.assert_allclose(np.stack(logits), whole, atol=1e-4)


def test_tokens_do_not_depend_on_who_shares_the_calls() -> None:
    alone = dance(few(seed=3), song(200, 1))
    company = [begin(few(seed=seed), song(frames, seed)) for seed, frames in ((8, 40), (3, 300), (3, 90))]
    mine = begin(few(seed=3), song(200, 1))
    shared = [*company[:2], mine, company[2]]
    run(shared, Recorded(), lambda graph, rows: zeros(SPEC.graph(graph), rows))
    assert mine.tokens == alone.tokens
    np.testing.assert_allclose(mine.result(), alone.result(), atol=1e-3)
    assert len({tuple(each.tokens[:10]) for each in shared}) > 1


def test_another_seed_another_dance() -> None:
    assert dance(few(seed=1), song(100)).tokens != dance(few(seed=2), song(100)).tokens


def test_the_end_is_not_allowed_before_the_least_length() -> None:
    """A language model that says nothing but the end: it is heard only where the request leaves it open."""
    network = small_composite()
    torch.nn.init.zeros_(network.gpt.logits.weight)
    with torch.no_grad():
        network.gpt.logits.bias.zero_()
        network.gpt.logits.bias[CODES] = 50
    made = generator(network.spec)
    assert isinstance(made, CompositeGenerator)
    for least, most in ((0, 30), (7, 30), (30, 30)):
        trajectory = CompositeTrajectory(made, few(), song(120), None, least, most)
        run([trajectory], Recorded(network), lambda graph, rows: zeros(SPEC.graph(graph), rows))
        assert len(trajectory.tokens) == max(least, 1)
        assert trajectory.result().shape == (4 * max(least, 1), 66)
        assert (trajectory.key_poses.frames < 4 * max(least, 1)).all()


def test_a_start_is_kept_and_the_plan_goes_on_from_it() -> None:
    start = walk(24, turn=2.0)
    trajectory = dance(few(start=start), song(240))
    made = decode(trajectory.result())
    place = start.positions[0, 0, [0, 2]] - made[0, 0, [0, 2]]
    made[..., [0, 2]] += place
    np.testing.assert_allclose(made[:24], start.positions, atol=0.01)
    planned = trajectory.key_poses
    assert planned.frames.min() > 24 + 7
    error = np.linalg.norm(made[planned.frames] - planned.positions, axis=-1)
    assert error.max() < 0.03


def test_what_a_request_gives_comes_before_the_plan() -> None:
    pose = walk(60).positions[50]
    constraints = Constraints(key_poses=(key_pose(100, pose.tolist(), "constraints.key_poses.0"),), in_place=True)
    trajectory = dance(few(constraints=constraints), song(240))
    made = decode(trajectory.result())
    made[..., [0, 2]] += pose[0, [0, 2]] - made[100, 0, [0, 2]]
    np.testing.assert_allclose(made[100], pose, atol=0.02)
    assert np.ptp(made[:, 0, [0, 2]], axis=0).max() < 0.02
    assert np.abs(trajectory.key_poses.frames - 100).min() > 8


def test_a_loop_closes() -> None:
    made = dance(few(constraints=Constraints(loop=True)), song(181)).result()
    np.testing.assert_allclose(made[0, 3:], made[-1, 3:], atol=1e-3)


def test_conditions_reach_the_token_that_they_belong_to() -> None:
    recorded, heard = Recorded(), song(200)
    later = TextSegment(100, 200, np.full(8, 9, np.float32))
    conditioning = Conditioning(200, heard.music, heard.text, heard.beats, heard.onset, segments=(later,))
    dance(few(), conditioning, recorded)
    steps = recorded.of("gpt")
    assert heard.music is not None
    np.testing.assert_array_equal(steps[7]["music"][0], heard.music[28:32])
    np.testing.assert_array_equal([s["text"][0, 0] == 9 for s in steps], [False] * 25 + [True] * 25)
    assert [s["cache_mask"].sum() for s in steps[:3]] == [0, 1, 2]
    assert steps[40]["cache_mask"].sum() == CONTEXT
    silent = Recorded()
    dance(few(), Conditioning(40), silent)
    assert not any(s[name].any() for s in silent.of("gpt") for name in ("music_mask", "has_text", "rhythm"))


def test_a_step_that_is_repeated_changes_nothing() -> None:
    request, conditioning = few(start=walk(10)), song(120)
    expected, trajectory = dance(request, conditioning), begin(request, conditioning)
    while not trajectory.done:
        inputs = zeros(SPEC.graph(trajectory.graph), trajectory.rows)
        for row in range(trajectory.rows):
            trajectory.fill_constant(row, inputs, row)
            trajectory.fill_step(row, inputs, row)
        outputs = NETWORK.evaluate(trajectory.graph, inputs)
        trajectory.add(0, row_of(outputs, 0))
        trajectory.repeat()
        assert not trajectory.complete
        for row in reversed(range(trajectory.rows)):
            trajectory.add(row, row_of(outputs, row))
        assert trajectory.complete
        trajectory.advance()
    assert trajectory.tokens == expected.tokens
    np.testing.assert_allclose(trajectory.result(), expected.result(), atol=1e-5)


def row_of(outputs: Mapping[str, NDArray[np.float32]], row: int) -> dict[str, NDArray[np.float32]]:
    return {name: values[row] for name, values in outputs.items()}


def test_bad_requests_are_refused_before_a_token_is_drawn() -> None:
    with pytest.raises(InvalidInput, match="sampler"):
        begin(GenerationRequest(sampler="euler"), Conditioning(8))
    with pytest.raises(NotForThisModel, match="duration: must be at most 8738 s"):
        begin(few(), Conditioning(4 * 65_536 + 1))


@pytest.mark.parametrize(
    ("graph", "says"),
    [("gpt", "has no graph 'gpt'"), ("decoder", "has no graph 'decoder'"), ("denoiser", "'denoiser'")],
)
def test_a_spec_without_a_graph_is_refused(graph: str, says: str) -> None:
    graphs = tuple(each for each in SPEC.graphs if each.name != graph)
    with pytest.raises(InvalidArtifact, match=says):
        generator(SPEC.model_copy(update={"graphs": graphs}))


def test_broken_parameters_are_refused() -> None:
    for name, value in (("key_pose_interval", 6), ("top_p", 0), ("temperature", "hot")):
        broken = SPEC.model_copy(update={"parameters": SPEC.parameters | {name: value}})
        with pytest.raises(InvalidArtifact, match=f"its parameter {name} is broken"):
            generator(broken)
    with pytest.raises(ValueError, match="multiple of 4"):
        PlanParameters(key_pose_interval=6)


def test_weights_of_another_codebook_are_refused() -> None:
    network = small_composite()
    other = small_composite(seed=1)
    mixed = network.state_dict() | {
        name: value for name, value in other.state_dict().items() if name.startswith("tokenizer.")
    }
    with pytest.raises(InvalidArtifact, match="its language model speaks tokens of the codebook"):
        CompositeNetwork(network.config).load_state_dict(mixed)
    CompositeNetwork(network.config).load_state_dict(network.state_dict())
    without = {name: value for name, value in network.state_dict().items() if not name.startswith("gpt.")}
    with pytest.raises(InvalidArtifact, match="has no weights of its gpt"):
        CompositeNetwork(network.config).load_state_dict(without)


@pytest.mark.parametrize(
    ("tokenizer", "says"),
    [
        (small_tokenizer(codebook_size=32), "the graph 'gpt' of the spec is not that of its network"),
        (small_tokenizer(quantizer="fsq", levels=(3, 3)), "the graph 'gpt'"),
        (small_tokenizer(frame_channels=70, representation="root-velocity-70"), "its tokeniser is of 70 channels"),
    ],
)
def test_a_configuration_of_another_codebook_is_refused(tokenizer: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        small_config(small_composite_spec(), tokenizer=tokenizer)


def test_half_precision_storage_keeps_the_codebook() -> None:
    network = small_composite()
    stored = {name: value.half().float() for name, value in network.state_dict().items()}
    CompositeNetwork(network.config).load_state_dict(stored)
