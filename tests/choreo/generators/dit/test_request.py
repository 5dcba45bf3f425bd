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
from choreo.generators.windowed_spec import windowed_spec
from choreo.models.conditioner_config import ConditionerConfig
from choreo.motion.representation import ROOT_VELOCITY_66


def network(family: str) -> DiTModel:
    config = DiTGeneratorConfig(
        spec=windowed_spec("small", family=family, context_dim=16, mean=(0.0,) * 66, std=(1.0,) * 66),
        conditioner=ConditionerConfig(context_dim=16, num_heads=2),
        denoiser=DiTConfig(
            width=16, layers=1, num_heads=2, hidden=24, context_dim=16, rhythm_channels=4, patch_frames=4
        ),
        music_mean=(0.0,) * 35,
        music_std=(1.0,) * 35,
    )
    torch.manual_seed(0)
    return DiTModel(config).eval()


@torch.no_grad()
def made(family: str, request: GenerationRequest) -> Array:
    model = network(family)
    spec, graphs = model.spec, model.graphs()

    def evaluate(name: str, inputs: Tensors) -> Tensors:
        out = graphs[name](*map(torch.from_numpy, inputs.values()))
        values = out if isinstance(out, tuple) else (out,)
        return {key: value.numpy() for key, value in zip(spec.graph(name).output_shapes, values, strict=True)}

    trajectory = generator(spec).begin(request, Conditioning(num_frames=60))
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
