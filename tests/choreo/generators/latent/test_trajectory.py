"""A request through encoder, denoiser and decoder: phases, seams, given frames, guidance and refusals."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_latent import small_config, small_latent, small_latent_spec, small_vae

from choreo.diffusion.ddim import Ddim
from choreo.diffusion.noise import INITIAL, gaussian
from choreo.diffusion.parameters import DiffusionParameters
from choreo.errors import InvalidInput
from choreo.generators.base import Conditioning, GenerationRequest, NotForThisModel, Tensors, run, zeros
from choreo.generators.constraints import Constraints, key_pose
from choreo.generators.given_frames import given_frames, known_frames
from choreo.generators.latent.generator import LatentGenerator
from choreo.generators.latent.model import LatentNetwork
from choreo.generators.latent.trajectory import LatentTrajectory, Tokens
from choreo.generators.registry import generator
from choreo.generators.text_segments import TextSegment
from choreo.motion.clip import Motion
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.representation import decode, representation
from choreo.motion.rotations import yaw
from choreo.motion.skeleton import FPS

NETWORK = small_latent()
SPEC = NETWORK.spec
TOKEN = 16


class Recorded:
    """A network that remembers its calls."""

    def __init__(self, network: LatentNetwork = NETWORK) -> None:
        self.network, self.calls = network, list[tuple[str, Tensors]]()

    def __call__(self, graph: str, inputs: Tensors) -> Tensors:
        self.calls.append((graph, {name: values.copy() for name, values in inputs.items()}))
        return self.network.evaluate(graph, inputs)

    @property
    def rows(self) -> list[tuple[str, int]]:
        return [(graph, len(next(iter(inputs.values())))) for graph, inputs in self.calls]


def dance(request: GenerationRequest, conditioning: Conditioning, recorded: Recorded | None = None) -> LatentTrajectory:
    evaluate = recorded or Recorded()
    spec = evaluate.network.spec
    trajectory = generator(spec).begin(request, conditioning)
    run([trajectory], evaluate, lambda graph, rows: zeros(spec.graph(graph), rows))
    assert isinstance(trajectory, LatentTrajectory)
    return trajectory


def song(frames: int, seed: int = 0) -> Conditioning:
    rng = np.random.default_rng(seed)
    music = rng.normal(size=(frames, 35)).astype(np.float32)
    beats = np.arange(0, frames / FPS, 0.5)
    return Conditioning(frames, music, rng.normal(size=8).astype(np.float32), beats, np.ones(frames, np.float32))


def walk(frames: int) -> Motion:
    """A standing body that glides and turns slowly."""
    time = np.arange(frames)
    root = np.stack([0.01 * time, np.full(frames, 0.95), 0.005 * time], axis=1)
    local = np.tile(np.eye(3), (frames, 22, 1, 1))
    local[:, 0] = yaw(0.01 * time)
    return Motion(forward_kinematics(root, local), FPS)


def joint_speeds(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """(T - 1, 22) m/s."""
    return np.linalg.norm(np.diff(decode(features), axis=0), axis=-1) * FPS


def test_a_request_goes_through_denoiser_and_decoder() -> None:
    recorded = Recorded()
    trajectory = dance(GenerationRequest(num_steps=3, guidance_scale=2.0), song(196), recorded)
    assert recorded.rows == [("denoiser", 2)] * 3 + [("decoder", 1)]
    assert trajectory.evaluated == {"encoder": 0, "denoiser": 6, "decoder": 1}
    assert trajectory.result().shape == (196, 66)
    assert trajectory.done
    assert trajectory.rows == 0


def test_what_is_given_is_encoded_first_where_it_is() -> None:
    recorded = Recorded()
    trajectory = dance(GenerationRequest(num_steps=2, guidance_scale=1.0, start=walk(20)), song(600), recorded)
    assert recorded.rows == [("encoder", 1), ("denoiser", 3), ("denoiser", 3), ("decoder", 3)]
    assert trajectory.evaluated == {"encoder": 1, "denoiser": 6, "decoder": 3}
    shares = recorded.calls[1][1]["given_mask"]
    np.testing.assert_allclose(shares[0, :3, 0], [1, 4 / 16, 0], atol=0.01)
    assert not shares[1:].any()


def test_a_step_of_the_sampler_is_that_of_the_formula() -> None:
    """One window without guidance, against the sampler and the network called by hand."""
    steps = 4
    recorded = Recorded()
    request = GenerationRequest(num_steps=steps, guidance_scale=1.0, seed=7)
    trajectory = dance(request, song(256), recorded)
    schedule, sampler = DiffusionParameters.of(SPEC).noise_schedule(), Ddim()
    x = gaussian(7, 0, 16, 4, INITIAL)[None]
    for t, t_prev in sampler.timesteps(schedule, steps):
        inputs = recorded.calls[0][1] | {"x": x, "t": np.array([[t]], np.float32)}
        x = sampler.step(schedule, x, NETWORK.evaluate("denoiser", inputs)["x0"], np.array([t]), np.array([t_prev]))
    np.testing.assert_allclose(trajectory.latents(), x[0], atol=1e-4)
    expected = NETWORK.evaluate("decoder", {"latents": x.astype(np.float32)})["features"][0]
    np.testing.assert_allclose(trajectory.result(), SPEC.denormalize(expected), atol=1e-3)


def test_a_long_motion_is_that_of_all_its_tokens_decoded_at_once() -> None:
    """No seam: windows only divide the work. The joints' velocities are compared at every border."""
    frames = 900
    trajectory = dance(GenerationRequest(num_steps=3, guidance_scale=1.5), song(frames))
    with torch.no_grad():
        whole = NETWORK.decoder(torch.from_numpy(trajectory.latents())[None])[0, :frames].numpy()
    made = trajectory.result()
    np.testing.assert_allclose(made, SPEC.denormalize(whole), atol=1e-4)
    borders = [first * TOKEN for first, _ in Tokens(16, 4, TOKEN, 4).kept(Tokens(16, 4, TOKEN, 4).starts(frames))][1:]
    assert len(borders) == 4
    ours, theirs = joint_speeds(made), joint_speeds(SPEC.denormalize(whole))
    np.testing.assert_allclose(ours[np.array(borders) - 1], theirs[np.array(borders) - 1], atol=0.01)


@torch.no_grad()
def test_windows_that_share_no_tokens_would_have_a_seam() -> None:
    """The control of the test above: decoded up to its end, a window has other velocities there."""
    latents = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 32, 4)).astype(np.float32))
    whole = joint_speeds(SPEC.denormalize(NETWORK.decoder(latents)[0].numpy()))
    parts = [NETWORK.decoder(latents[:, first : first + 16])[0].numpy() for first in (0, 16)]
    apart = joint_speeds(SPEC.denormalize(np.concatenate(parts)))
    assert np.abs(apart[255] - whole[255]).max() > 0.1
    np.testing.assert_allclose(apart[: 256 - 32], whole[: 256 - 32], atol=0.01)


@given(num_frames=st.integers(1, 4000), overlap=st.sampled_from([4, 5, 8]))
@settings(max_examples=60, deadline=None)
def test_every_token_is_taken_from_one_window_that_has_it_far_from_its_ends(num_frames: int, overlap: int) -> None:
    tokens = Tokens(16, 4, TOKEN, overlap)
    starts = tokens.starts(num_frames)
    kept = tokens.kept(starts)
    assert [token for first, stop in kept for token in range(first, stop)] == list(range(starts[-1] + 16))
    assert (starts[-1] + 16) * TOKEN >= num_frames
    reach = -(-small_vae().reach // TOKEN)
    for i, ((first, stop), start) in enumerate(zip(kept, starts, strict=True)):
        assert i == 0 or first - start >= reach
        assert i == len(starts) - 1 or start + 16 - stop >= reach


def test_a_start_stays_and_leads_into_the_motion_without_a_jump() -> None:
    start = walk(40)
    made = dance(GenerationRequest(num_steps=2, guidance_scale=1.0, start=start), song(300)).result()
    motion = representation(SPEC.representation)
    known, mask = known_frames(given_frames(start, Constraints(), 300, FPS), 300, motion)
    np.testing.assert_allclose(made[mask > 0], known[mask > 0], atol=1e-4)
    jump = np.abs(np.diff(made, n=2, axis=0)).max(axis=1)[36:42]
    assert jump.max() <= 2 * np.abs(np.diff(made, n=2, axis=0)).max()
    free = dance(GenerationRequest(num_steps=2, guidance_scale=1.0), song(300)).result()
    assert np.abs(made[39:41] - made[38:40]).max() < np.abs(free[40] - known[39]).max()


def test_key_poses_and_an_end_are_met_in_windows_of_their_own() -> None:
    pose = walk(60).positions[50]
    end = Motion(walk(70).positions[60:], FPS)
    constraints = Constraints(end=end, key_poses=(key_pose(300, pose.tolist(), "constraints.key_poses.0"),))
    recorded = Recorded()
    made = dance(GenerationRequest(num_steps=2, guidance_scale=1.0, constraints=constraints), song(600), recorded)
    motion = representation(SPEC.representation)
    given = given_frames(None, constraints, 600, FPS)
    assert recorded.rows[0] == ("encoder", 2)
    known, mask = known_frames(given, 600, motion)
    np.testing.assert_allclose(made.result()[mask > 0], known[mask > 0], atol=1e-4)
    positions = given.moved_to_place(decode(made.result()))
    np.testing.assert_allclose(positions[300], pose, atol=0.02)
    np.testing.assert_allclose(positions[-10:], end.positions, atol=0.02)


def test_a_path_is_followed_and_a_loop_closes() -> None:
    path = np.array([[0, 0, 0], [2, 1, 0], [6, 1, 2.0]])
    made = dance(GenerationRequest(num_steps=2, constraints=Constraints(path=path)), song(181)).result()
    root = np.cumsum(made[:, :2], axis=0) / FPS
    np.testing.assert_allclose(root[180] - root[0], [1, 2], atol=0.02)
    looped = dance(GenerationRequest(num_steps=2, constraints=Constraints(loop=True)), song(181)).result()
    np.testing.assert_allclose(looped[0, 3:], looped[-1, 3:], atol=1e-3)


def test_text_and_music_are_guided_apart() -> None:
    """The third row has the text only; with equal scales the result is that of one scale."""
    recorded = Recorded()
    apart = dance(GenerationRequest(num_steps=2, text_guidance=2.0, music_guidance=3.0), song(256), recorded)
    inputs = recorded.calls[0][1]
    assert recorded.rows[0] == ("denoiser", 3)
    np.testing.assert_array_equal(inputs["has_text"][:, 0], [1, 0, 1])
    assert inputs["music"][0].any()
    assert not inputs["music"][1:].any()
    equal = dance(GenerationRequest(num_steps=2, text_guidance=2.0, music_guidance=2.0), song(256))
    one = dance(GenerationRequest(num_steps=2, guidance_scale=2.0), song(256))
    np.testing.assert_allclose(equal.latents(), one.latents(), atol=1e-4)
    assert np.abs(apart.latents() - one.latents()).max() > 1e-3


def test_conditions_reach_the_window_that_they_belong_to() -> None:
    recorded = Recorded()
    conditioning = song(600)
    later = TextSegment(300, 600, np.full(8, 9, np.float32))
    prior = np.full((600, 66), 3, np.float32)
    conditioning = Conditioning(
        600, conditioning.music, conditioning.text, conditioning.beats, conditioning.onset, segments=(later,)
    )
    request = GenerationRequest(num_steps=1, guidance_scale=1.0, prior=prior, prior_mask=(np.arange(600) < 100) * 1.0)
    dance(request, conditioning, recorded)
    inputs = recorded.calls[0][1]
    assert inputs["music"].shape == (3, 16, 16, 35)
    music = inputs["music"][1].reshape(256, 35)
    np.testing.assert_array_equal(music, conditioning.music[192 : 192 + 256])  # type: ignore[index]
    assert inputs["music_mask"][2].sum() == 600 - 2 * 192
    np.testing.assert_array_equal(inputs["text"][2], later.text)
    np.testing.assert_array_equal(inputs["text"][0], conditioning.text)
    assert inputs["prior_mask"].sum() == 100
    assert inputs["rhythm"].shape == (3, 16, 16, 4)


def test_a_step_that_is_repeated_changes_nothing() -> None:
    request, conditioning = GenerationRequest(num_steps=2, start=walk(10)), song(300)
    expected = dance(request, conditioning).result()
    trajectory = generator(SPEC).begin(request, conditioning)
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
    np.testing.assert_array_equal(trajectory.result(), expected)


def row_of(outputs: Mapping[str, NDArray[np.float32]], row: int) -> dict[str, NDArray[np.float32]]:
    return {name: values[row] for name, values in outputs.items()}


def test_a_motion_does_not_depend_on_what_shares_its_calls() -> None:
    alone = dance(GenerationRequest(num_steps=2, seed=3), song(300)).result()
    both = [generator(SPEC).begin(GenerationRequest(num_steps=2, seed=seed), song(300)) for seed in (3, 4)]
    run(both, NETWORK.evaluate, lambda graph, rows: zeros(SPEC.graph(graph), rows))
    np.testing.assert_allclose(both[0].result(), alone, atol=1e-4)
    assert np.abs(both[1].result() - alone).max() > 1e-2


def test_a_latent_of_one_window_makes_no_longer_motion() -> None:
    single = small_vae(window=200, tokens=1, overlap=0)
    network = small_latent(small_config(small_latent_spec("one", window=200, tokens=1, overlap=0), single))
    made = generator(network.spec)
    assert isinstance(made, LatentGenerator)
    recorded = Recorded(network)
    assert dance(GenerationRequest(num_steps=1), song(200), recorded).result().shape == (200, 66)
    with pytest.raises(NotForThisModel, match=r"duration: must be at most 6.67 s for the model one"):
        made.begin(GenerationRequest(), song(201))


def test_an_unknown_sampler_is_bad_input() -> None:
    with pytest.raises(InvalidInput, match="sampler"):
        generator(SPEC).begin(GenerationRequest(sampler="euler"), Conditioning(8))


def test_the_representation_of_the_lab_keeps_what_is_given() -> None:
    name, channels = "lab-199", 199
    spec = small_latent_spec("lab", representation=name, mean=(0.0,) * channels, std=(1.0,) * channels)
    network = small_latent(small_config(spec, small_vae(representation=name, frame_channels=channels)))
    start, pose = walk(40), walk(60).positions[50]
    constraints = Constraints(key_poses=(key_pose(200, pose.tolist(), "constraints.key_poses.0"),))
    request = GenerationRequest(num_steps=2, start=start, constraints=constraints)
    made = dance(request, song(300), Recorded(network)).result()
    motion, given = representation(name), given_frames(start, constraints, 300, FPS)
    assert made.shape == (300, channels)
    known, mask = known_frames(given, 300, motion)
    np.testing.assert_allclose(made[mask > 0], known[mask > 0], atol=1e-4)
    positions = given.moved_to_place(motion.decode(made))
    np.testing.assert_allclose(positions[:40], start.positions, atol=0.02)
    np.testing.assert_allclose(positions[200], pose, atol=0.02)
