"""Requests with constraints go through the transformers as they go through the U-Net."""

import numpy as np
import pytest
import torch
from tiny_training import clips

from choreo.generators.base import Array, Conditioning, GenerationRequest, Tensors, run, zeros
from choreo.generators.constraints import Constraints, KeyPose
from choreo.generators.dit.config import DiTConfig, DiTGeneratorConfig
from choreo.generators.dit.model import BACKBONES, DiTModel
from choreo.generators.registry import generator
from choreo.generators.text_segments import TextSegment
from choreo.generators.windowed_spec import windowed_spec
from choreo.models.conditioner_config import ConditionerConfig
from choreo.motion.clip import Motion
from choreo.motion.representation import ROOT_VELOCITY_66, representation
from choreo.motion.retarget import refit
from choreo.motion.skeleton import FPS, PELVIS

FRAMES = 60
CASES = [(family, name) for family in sorted(BACKBONES) for name in ("root-velocity-70", "lab-199")]
SCHEDULES = {"lab-199": "cosine_squared"}


def network(family: str, motion: str = "root-velocity-66") -> DiTModel:
    channels = representation(motion).channels
    spec = windowed_spec(
        "small", family=family, context_dim=16, mean=(0.0,) * channels, std=(1.0,) * channels, representation=motion,
        schedule=SCHEDULES.get(motion, "cosine"),
    )  # fmt: skip
    config = DiTGeneratorConfig(
        spec=spec,
        conditioner=ConditionerConfig(context_dim=16, num_heads=2),
        denoiser=DiTConfig(
            channels=channels,
            width=16,
            layers=1,
            num_heads=2,
            hidden=24,
            context_dim=16,
            rhythm_channels=4,
            patch_frames=4,
        ),
        music_mean=(0.0,) * 35,
        music_std=(1.0,) * 35,
    )
    torch.manual_seed(0)
    model = DiTModel(config).eval()
    for parameter in model.parameters():  # gates and outputs begin with zeros, which see no condition
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@torch.no_grad()
def made(
    family: str,
    request: GenerationRequest,
    motion: str = "root-velocity-66",
    conditioning: Conditioning | None = None,
) -> Array:
    model = network(family, motion)
    spec, graphs = model.spec, model.graphs()

    def evaluate(name: str, inputs: Tensors) -> Tensors:
        out = graphs[name](*map(torch.from_numpy, inputs.values()))
        values = out if isinstance(out, tuple) else (out,)
        return {key: value.numpy() for key, value in zip(spec.graph(name).output_shapes, values, strict=True)}

    trajectory = generator(spec).begin(request, conditioning or Conditioning(FRAMES))
    run([trajectory], evaluate, lambda name, rows: zeros(spec.graph(name), rows))
    return trajectory.result()


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
@pytest.mark.parametrize("family", sorted(BACKBONES))
def test_a_request_for_a_key_pose_is_kept(family: str, sampler: str) -> None:
    pose = clips()[0].positions()[50]
    wanted = Constraints(key_poses=(KeyPose(30, pose, "constraints.keyframes.0"),))
    out = made(family, GenerationRequest(num_steps=3, sampler=sampler, constraints=wanted))
    assert out.shape == (60, 66)
    positions = ROOT_VELOCITY_66.decode(out)[30]
    np.testing.assert_allclose((positions - positions[0])[:, 1], (pose - pose[0])[:, 1], atol=0.03)


def recorded(first: int, stop: int) -> Motion:
    return Motion(clips()[0].positions()[first:stop], FPS)


def posed(motion: str, features: Array) -> np.ndarray:
    return representation(motion).decode(features)


def relative(positions: np.ndarray) -> np.ndarray:
    """Joints over the spot of their root, heights kept."""
    return positions - positions[:, :1] * (1, 0, 1)


@pytest.mark.parametrize(("family", "motion"), CASES)
def test_a_start_is_kept(family: str, motion: str) -> None:
    start = recorded(40, 55)
    free = posed(motion, made(family, GenerationRequest(num_steps=3), motion))
    out = posed(motion, made(family, GenerationRequest(num_steps=3, start=start), motion))
    given = refit(start.positions)
    np.testing.assert_allclose(relative(out[:15]), relative(given), atol=0.01)
    way = out[1:15, PELVIS] - out[:14, PELVIS]
    np.testing.assert_allclose(way, np.diff(given[:, PELVIS], axis=0), atol=0.01)
    assert np.abs(relative(free[:15]) - relative(given)).max() > 0.1


@pytest.mark.parametrize(("family", "motion"), CASES)
def test_held_spans_are_kept_and_lie_where_they_were(family: str, motion: str) -> None:
    clip = recorded(0, FRAMES)
    wanted = Constraints(clip=clip, hold=((5, 14), (40, 49)))
    out = posed(motion, made(family, GenerationRequest(num_steps=3, constraints=wanted), motion))
    given = refit(clip.positions)
    for first, last in wanted.hold:
        np.testing.assert_allclose(relative(out[first : last + 1]), relative(given[first : last + 1]), atol=0.01)
    travel = (out[45] - out[10])[PELVIS, [0, 2]]
    np.testing.assert_allclose(travel, (given[45] - given[10])[PELVIS, [0, 2]], atol=0.01)


@pytest.mark.parametrize(("family", "motion"), CASES)
def test_a_path_is_followed(family: str, motion: str) -> None:
    path = np.array([[0.0, 0.0, 0.0], [1.0, 0.6, 0.2], [FRAMES / FPS, 0.8, 1.0]])
    wanted = Constraints(path=path)
    out = posed(motion, made(family, GenerationRequest(num_steps=3, constraints=wanted), motion))
    way = out[:, PELVIS][:, [0, 2]] - out[0, PELVIS, [0, 2]]
    np.testing.assert_allclose(way[30], [0.6, 0.2], atol=0.01)
    assert np.linalg.norm(way[-1] - [0.8, 1.0]) < 0.05


@pytest.mark.parametrize(("family", "motion"), CASES)
def test_places_between_poses_are_arrived_at(family: str, motion: str) -> None:
    """Nothing is known of the velocities between two key poses: what the network leaves of the way is added."""
    poses = [clips()[0].positions()[frame] for frame in (10, 50)]
    poses[1] = poses[1] - poses[1][PELVIS] * (1, 0, 1) + poses[0][PELVIS] * (1, 0, 1) + (0.5, 0.0, 0.3)
    keys = tuple(
        KeyPose(f, p, f"constraints.keyframes.{i}") for i, (f, p) in enumerate(zip((8, 52), poses, strict=True))
    )
    request = GenerationRequest(num_steps=3, constraints=Constraints(key_poses=keys))
    out = posed(motion, made(family, request, motion))
    np.testing.assert_allclose((out[52] - out[8])[PELVIS, [0, 2]], [0.5, 0.3], atol=0.01)


@pytest.mark.parametrize(("family", "motion"), CASES)
def test_prompts_over_time_change_the_windows_that_follow_them(family: str, motion: str) -> None:
    frames = 400
    rng = np.random.default_rng(0)
    text, other = rng.normal(size=(2, 384)).astype(np.float32)
    request = GenerationRequest(num_steps=2)
    whole = made(family, request, motion, Conditioning(frames, text=text))
    segments = (TextSegment(0, 200, text), TextSegment(200, frames, other))
    changed = made(family, request, motion, Conditioning(frames, text=text, segments=segments))
    difference = np.abs(changed - whole).max(axis=1)
    assert difference[300:].max() > 1e-4
    assert difference[300:].max() > 5 * difference[:100].max()


def test_a_lone_key_pose_leaves_the_velocities_open() -> None:
    """Those of the root and, in the lab's representation, of the heading."""
    pose = clips()[0].positions()[50]
    wanted = Constraints(key_poses=(KeyPose(30, pose, "constraints.keyframes.0"),))
    spec = network("dit-adaln", "lab-199").spec
    known = generator(spec).timelines(GenerationRequest(constraints=wanted), Conditioning(FRAMES), 196)["known_mask"]
    assert known[30].sum() == spec.channels - 3
    assert not known[30, [1, 2, 3]].any()
    assert not np.delete(known, 30, axis=0).any()
