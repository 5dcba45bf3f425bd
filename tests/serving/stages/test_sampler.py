"""The sampler on a fake engine whose denoiser is a known function, so that every claim can be checked by arithmetic."""

import asyncio
import itertools
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from choreo.errors import DeadlineExceeded, InvalidInput
from choreo.generators.spec import ModelSpec, Prediction
from choreo.motion.clip import Motion
from choreo.motion.kinematics import forward_kinematics
from serving.pipeline.contracts import Conditioning, Prior
from serving.pipeline.request import Attachments, MotionRequest, parse_fields, validated_request
from serving.settings import Settings
from serving.stages.sampler import OVERLAP, Sampler

SPEC = ModelSpec(name="fake", context_dim=4, mean=(0.5,) * 66, std=(2.0,) * 66)


class FakeEngine:
    """Denoiser: x0 = 0.25 x + mean of the prior's mask + text presence; keeps what it was sent."""

    def __init__(self, spec: ModelSpec = SPEC) -> None:
        self.spec = spec
        self.calls: list[tuple[str, dict[str, NDArray[np.float32]]]] = []

    async def specs(self) -> dict[str, ModelSpec]:
        return {self.spec.name: self.spec}

    async def instances(self) -> int:
        return 1

    async def infer(
        self,
        graph: str,
        inputs: Mapping[str, NDArray[np.float32]],
        *,
        deadline: float | None = None,
        whole: bool = False,
    ) -> dict[str, NDArray[np.float32]]:
        self.calls.append((graph, dict(inputs)))
        if graph == "conditioner":
            rows = len(inputs["text"])
            context = np.tile(inputs["has_text"][:, :, None], (1, 50, 4)).astype(np.float32)
            return {"context": context, "context_mask": np.ones((rows, 50), np.float32)}
        bias = inputs["context"][:, :1, :1] + inputs["prior"][:, :, -1:]
        out = 0.25 * inputs["x"] + bias
        held = inputs["known_mask"]
        return {self.spec.prediction.value: (held * inputs["known"] + (1 - held) * out).astype(np.float32)}

    async def close(self) -> None: ...

    async def statistics(self) -> dict[str, int]:
        return {}


def job(**fields: Any) -> MotionRequest:
    return validated_request(parse_fields({"text_prompt": "waltz", "seed": 5, **fields}), Attachments(), Settings())


def conditioning(num_frames: int = 196, **changes: Any) -> Conditioning:
    rhythm = np.zeros((num_frames, 4), np.float32)
    base = Conditioning(num_frames, None, rhythm, np.ones(384, np.float32), np.zeros(0), 0.0, None)
    return replace(base, **changes)


def run(engine: FakeEngine, request: MotionRequest, condition: Conditioning, prior: Prior | None = None) -> Any:
    return asyncio.run(Sampler(engine).sample(request, condition, prior))


def test_conditional_and_unconditional_rows_share_one_call_per_step() -> None:
    engine = FakeEngine()
    out = run(engine, job(num_steps=7), conditioning())
    graphs = [graph for graph, _ in engine.calls]
    assert graphs == ["conditioner"] + ["denoiser"] * 7
    assert out.rows == {"conditioner": 2, "denoiser": 14}
    assert out.features.shape == (196, 66)


def test_a_scale_of_one_needs_no_unconditional_rows() -> None:
    engine = FakeEngine()
    assert run(engine, job(num_steps=3, guidance_scale=1.0), conditioning()).rows["denoiser"] == 3
    assert engine.calls[1][1]["x"].shape[0] == 1


def test_the_null_row_drops_text_music_rhythm_and_prior_together() -> None:
    engine = FakeEngine()
    prior = Prior(np.ones((196, 66), np.float32), np.ones(196, np.float32), [])
    music = conditioning(music=np.ones((196, 35), np.float32), rhythm=np.ones((196, 4), np.float32))
    run(engine, job(num_steps=1), music, prior)
    condition, denoise = engine.calls[0][1], engine.calls[1][1]
    for name in ("text", "music", "has_music", "has_text"):
        assert condition[name][0].any()
        assert not condition[name][1].any()
    for name in ("prior", "rhythm"):
        assert denoise[name][0].any()
        assert not denoise[name][1].any()


def test_the_result_is_the_guided_prediction_in_metres() -> None:
    """One step from t = T-1 emits x0 = u + w (c - u), denormalised."""
    engine = FakeEngine()
    out = run(engine, job(num_steps=1, guidance_scale=3.0), conditioning())
    x = engine.calls[1][1]["x"][0]
    np.testing.assert_allclose(out.features, (0.25 * x + 3.0) * 2.0 + 0.5, rtol=1e-5)


@pytest.mark.parametrize("prediction", list(Prediction))
@pytest.mark.parametrize("name", ["ddim", "ddpm"])
def test_long_motions_are_windows_of_one_timeline(name: str, prediction: Prediction) -> None:
    engine = FakeEngine(SPEC.model_copy(update={"prediction": prediction}))
    out = run(engine, job(num_steps=4, sampler=name), conditioning(500))
    assert out.features.shape == (500, 66)
    assert out.rows == {"conditioner": len(engine.calls[0][1]["text"]), "denoiser": 4 * 2 * 4}
    assert out.rows["conditioner"] == 2  # windows without music are alike; one null row is for all
    assert np.isfinite(out.features).all()
    for _, inputs in engine.calls[1:]:
        windows = inputs["x"][:4]
        for left, right in itertools.pairwise(windows):
            np.testing.assert_array_equal(left[-OVERLAP:], right[:OVERLAP])


def test_the_same_seed_gives_the_same_frames_whatever_the_length() -> None:
    short = run(FakeEngine(), job(num_steps=5), conditioning(150)).features
    long = run(FakeEngine(), job(num_steps=5), conditioning(700)).features
    np.testing.assert_allclose(short[:132], long[:132], atol=1e-5)
    other = run(FakeEngine(), job(num_steps=5, seed=6), conditioning(150)).features
    assert np.abs(short - other).mean() > 0.1


def test_a_start_is_held_and_its_first_velocity_is_free() -> None:
    rest = forward_kinematics(np.array([1.0, 0.97, 2.0]), np.broadcast_to(np.eye(3), (10, 22, 3, 3)))
    request = replace(job(num_steps=2), start=Motion(rest.astype(np.float32)))
    engine = FakeEngine()
    out = run(engine, request, conditioning())
    mask = engine.calls[1][1]["known_mask"][0]
    assert mask[1:10].all()
    assert not mask[0, :2].any()
    assert mask[0, 2:].all()
    assert not mask[10:].any()
    np.testing.assert_allclose(out.features[:10, 2], 0.97, atol=1e-5)


def test_windows_after_the_song_hear_nothing() -> None:
    engine = FakeEngine()
    run(engine, job(num_steps=1), conditioning(600, music=np.ones((200, 35), np.float32)))
    heard = engine.calls[0][1]["has_music"][:, 0]
    assert heard.tolist() == [1, 1, 0, 0]  # two windows with music, those after it, the null row
    assert engine.calls[0][1]["music_mask"][1].sum() == 200 - 132


def test_a_passed_deadline_stops_the_loop() -> None:
    engine = FakeEngine()
    with pytest.raises(DeadlineExceeded):
        run(engine, replace(job(), deadline=time.time() - 1), conditioning())
    assert [graph for graph, _ in engine.calls].count("denoiser") == 0


def test_an_unknown_model_is_refused_by_field() -> None:
    with pytest.raises(InvalidInput, match="fake") as error:
        run(FakeEngine(), job(model="other"), conditioning())
    assert error.value.field == "model"
