from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_text_motion import SPEC, model, swinging

from choreo.data.windows.captioned import motion_input
from choreo.data.windows.windows import pad
from choreo.errors import InvalidArtifact
from choreo.models.tmr import MotionDecoder, TextMotionConfig, TextMotionModel, load_text_motion, save_text_motion


@settings(max_examples=20, deadline=None)
@given(frames=st.integers(1, 195), seed=st.integers(0, 5))
def test_what_lies_in_the_padding_does_not_matter(frames: int, seed: int) -> None:
    features, mask = pad(motion_input(swinging(seed, frames)))
    noisy = features.copy()
    noisy[frames:] = np.random.default_rng(seed).normal(0, 50, noisy[frames:].shape)
    noisy[-1] = np.nan
    network = model()
    a, b = (network.encode_motion(torch.from_numpy(x)[None], torch.from_numpy(mask)[None]) for x in (features, noisy))
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_every_real_frame_matters() -> None:
    features, mask = (torch.from_numpy(x)[None] for x in pad(motion_input(swinging(0, 101))))
    network = model()
    mean, _ = network.encode_motion(features, mask)
    for frame in (0, 50, 99, 100):
        changed = features.clone()
        changed[0, frame] += 1
        assert (network.encode_motion(changed, mask)[0] - mean).abs().max() > 1e-5


def test_a_trailing_pause_is_not_padding() -> None:
    features, mask = (torch.from_numpy(x)[None] for x in pad(motion_input(swinging(0, 100))))
    longer = mask.clone()
    longer[0, :140] = 1
    network = model()
    assert (network.encode_motion(features, mask)[0] - network.encode_motion(features, longer)[0]).abs().max() > 1e-4


def test_shapes_of_decoder_and_encoders() -> None:
    mask = torch.ones(3, 196)
    assert MotionDecoder(SPEC)(torch.zeros(3, 16), mask).shape == (3, 196, 66)
    for out in model().encode_text(torch.zeros(3, 12)):
        assert out.shape == (3, 16)


def test_the_default_is_small() -> None:
    spec = SPEC.model_copy(update={"network": TextMotionConfig()})
    total = sum(p.numel() for m in (TextMotionModel(spec), MotionDecoder(spec)) for p in m.parameters())
    assert total < 5e6


def test_impossible_architectures_are_refused() -> None:
    for wrong in ({"dim": 30, "num_heads": 4}, {"patch": 5}):
        with pytest.raises(ValueError, match="divide"):
            TextMotionConfig(**wrong)  # type: ignore[arg-type]


def test_saving_rounds_to_half_precision_and_no_more(tmp_path: Path) -> None:
    saved = model()
    save_text_motion(tmp_path, SPEC, saved.state_dict())
    loaded = load_text_motion(tmp_path)
    assert not loaded.training
    assert loaded.spec == SPEC
    for name, value in saved.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value.half().float(), rtol=0, atol=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "no config", "other shape", "nan", "config", "missing"])
def test_broken_checkpoints_are_invalid_artifacts(tmp_path: Path, damage: str) -> None:
    state = model().state_dict()
    if damage == "nan":
        state["motion.mean.bias"] = torch.full_like(state["motion.mean.bias"], torch.nan)
    if damage == "other shape":
        state["motion.mean.bias"] = torch.zeros(3)
    if damage != "missing":
        save_text_motion(tmp_path, SPEC, state)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    match damage:
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "empty":
            weights.write_bytes(b"")
        case "no config":
            config.unlink()
        case "config":
            config.write_text(config.read_text().replace('"dim": 32', '"dim": -1'))
    with pytest.raises(InvalidArtifact):
        load_text_motion(tmp_path)
