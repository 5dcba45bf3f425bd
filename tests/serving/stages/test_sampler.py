"""The sampler on a fake engine whose denoiser is a known function, so that every claim can be checked by arithmetic."""

import asyncio
import itertools
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_sampler_engine import SPEC, FakeEngine, conditioning, job, made, unet

from choreo.diffusion.schedule import Prediction
from choreo.diffusion.trajectory import OVERLAP
from choreo.errors import BackendUnavailable, DeadlineExceeded, InvalidInput
from choreo.generators.base import Conditioning
from choreo.generators.latent.graphs import LatentScale, latent_spec
from choreo.generators.spec import GeneratorSpec
from choreo.motion.clip import Motion
from choreo.motion.kinematics import forward_kinematics
from serving.pipeline.phrases import Prior
from serving.pipeline.request import MotionRequest
from serving.pipeline.results import NO_STEPS, StepCounts
from serving.stages import sampler as stage
from serving.stages.context_cache import ContextCache
from serving.stages.sampler import Sampler


def run(engine: FakeEngine, request: MotionRequest, condition: Conditioning, prior: Prior | None = None) -> Any:
    async def sampled() -> Any:
        sampler = made(engine)
        try:
            return await sampler.sample(request, condition, prior)
        finally:
            await sampler.close()

    return asyncio.run(sampled())


def test_conditional_and_unconditional_rows_share_one_call_per_step() -> None:
    engine = FakeEngine()
    out = run(engine, job(num_steps=7), conditioning())
    assert engine.graphs == ["conditioner"] + ["denoiser"] * 7
    assert out.rows == {"conditioner": 2, "denoiser": 14}
    assert out.features.shape == (196, 66)


def test_a_scale_of_one_needs_no_unconditional_rows() -> None:
    engine = FakeEngine()
    assert run(engine, job(num_steps=3, guidance_scale=1.0), conditioning()).rows["denoiser"] == 3
    assert engine.calls[1][1]["x"].shape[0] == 1


def test_separate_guidance_has_three_rows_and_is_refused_by_distilled_models() -> None:
    engine = FakeEngine()
    wanted = replace(job(num_steps=4), text_guidance=2.5, music_guidance=4.0)
    music = conditioning(music=np.ones((196, 35), np.float32))
    out = run(engine, wanted, music)
    assert engine.graphs == ["conditioner"] + ["denoiser"] * 4
    assert out.rows == {"conditioner": 3, "denoiser": 12}
    assert out.steps == StepCounts(batches=5, rows=15, capacity=16 + 4 * 32)
    distilled = SPEC.model_copy(update={"parameters": SPEC.parameters | {"distilled": True}})
    with pytest.raises(InvalidInput, match="within its weights") as error:
        run(FakeEngine(distilled), wanted, music)
    assert error.value.field == "text_guidance"


def test_a_field_that_a_model_cannot_do_is_refused_with_the_models_that_can() -> None:
    wanted = replace(job(num_steps=4), text_guidance=2.5, music_guidance=4.0)
    distilled = SPEC.model_copy(update={"parameters": SPEC.parameters | {"distilled": True}})
    with pytest.raises(InvalidInput, match="within its weights; no model that is served can"):
        run(FakeEngine(distilled), wanted, conditioning())
    others = (unet("able"), unet("other-encoder", text_encoder="t5"), unet("wide", music_dim=4800))
    with pytest.raises(InvalidInput, match=r"within its weights; models that can: able$") as error:
        run(FakeEngine(distilled, *others), wanted, conditioning())
    assert error.value.field == "text_guidance"


def test_a_motion_longer_than_a_latent_is_refused_with_the_models_that_make_it() -> None:
    scale = LatentScale(latent_mean=(0.0,) * 256, latent_std=(1.0,) * 256)
    of = {"mean": (0.0,) * 66, "std": (1.0,) * 66, "scale": scale}
    single = latent_spec("single", window=200, tokens=1, channels=256, **of)
    engine = FakeEngine(single, SPEC, unet("short", window=196))
    with pytest.raises(InvalidInput, match=r"at most 6\.67 s for the model.*; models that can: fake, short$") as error:
        run(engine, replace(job(), model="single"), conditioning(300))
    assert error.value.field == "duration"
    assert engine.calls == []


def test_sections_are_repeated_by_models_that_can() -> None:
    scale = LatentScale(latent_mean=(0.0,) * 256, latent_std=(1.0,) * 256)
    single = latent_spec("single", window=200, tokens=1, channels=256, mean=(0.0,) * 66, std=(1.0,) * 66, scale=scale)
    wanted, places = replace(job(num_steps=2), repeat_sections=True), np.arange(180, dtype=np.float64)
    places[90:] = np.arange(90)
    engine = FakeEngine(single, SPEC)
    with pytest.raises(InvalidInput, match=r"single, which repeats no moves; models that can: fake$") as error:
        run(engine, replace(wanted, model="single"), conditioning(180))
    assert error.value.field == "repeat_sections"
    assert engine.calls == []
    features = run(engine, replace(wanted, model="fake"), conditioning(180, repeats=places)).features
    np.testing.assert_allclose(features[90:], features[:90], atol=1e-5)


def test_the_null_row_drops_text_music_rhythm_and_prior_together() -> None:
    engine = FakeEngine()
    prior = Prior(np.ones((196, 66), np.float32), np.ones(196, np.float32), [])
    beats, onset = np.arange(12) / 2, np.ones(196, np.float32)
    music = conditioning(music=np.ones((196, 35), np.float32), beats=beats, onset=onset)
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
    engine = FakeEngine(unet(prediction=prediction))
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
    assert "denoiser" not in engine.graphs


def test_an_unknown_model_is_refused_by_field() -> None:
    with pytest.raises(InvalidInput, match="fake") as error:
        run(FakeEngine(), job(model="other"), conditioning())
    assert error.value.field == "model"


def test_another_generator_is_used_by_name_and_the_first_one_by_default() -> None:
    engine = FakeEngine(SPEC, unet("other", std=(4.0,) * 66))
    ours = run(engine, job(num_steps=2), conditioning())
    theirs = run(engine, job(num_steps=2, model="other"), conditioning())
    assert (ours.model, theirs.model) == ("fake", "other")
    np.testing.assert_allclose((ours.features - 0.5) * 2, theirs.features - 0.5, rtol=1e-5, atol=1e-5)


def test_rows_of_the_conditioner_are_computed_once() -> None:
    async def sampled() -> None:
        engine = FakeEngine()
        sampler = made(engine, cache=ContextCache(1 << 20))
        for seed in range(3):
            await sampler.sample(job(num_steps=1, seed=seed), conditioning(), None)
        assert engine.graphs.count("conditioner") == 1
        await sampler.sample(job(num_steps=1), conditioning(text=np.zeros(384, np.float32)), None)
        assert engine.graphs.count("conditioner") == 2
        assert len(engine.calls[-2][1]["text"]) == 1  # the null row is known
        await sampler.close()

    asyncio.run(sampled())


def test_a_few_are_sampled_at_a_time_and_canaries_do_not_wait() -> None:
    class FakeExecutor:
        """Holds what it is given."""

        def __init__(self) -> None:
            self.inside, self.most = 0, 0
            self.full, self.go = asyncio.Event(), asyncio.Event()

        async def run(self, trajectory: Any, spec: GeneratorSpec) -> None:
            self.inside += 1
            self.most = max(self.most, self.inside)
            if self.inside == 2:
                self.full.set()
            await self.go.wait()
            self.inside -= 1
            raise BackendUnavailable("it was only held")

        async def release(self, model: str) -> None: ...

        def take_counts(self) -> StepCounts:
            return NO_STEPS

        async def close(self) -> None: ...

    async def sampled() -> None:
        holding, engine = FakeExecutor(), FakeEngine()
        sampler = Sampler(engine, lambda _: holding, concurrency=2)
        jobs = [asyncio.create_task(sampler.sample(job(seed=seed), conditioning(), None)) for seed in range(5)]
        await holding.full.wait()
        await sampler.warm_up()
        assert engine.graphs == ["conditioner", "denoiser"]
        holding.go.set()
        assert {type(o) for o in await asyncio.gather(*jobs, return_exceptions=True)} == {BackendUnavailable}
        assert (holding.inside, holding.most) == (0, 2)

    asyncio.run(sampled())


def test_the_canary_goes_through_all_graphs_of_all_generators() -> None:
    engine = FakeEngine(SPEC, unet("other"))
    asyncio.run(made(engine).warm_up())
    assert engine.graphs == ["conditioner", "denoiser"] * 2
    assert all(len(values) == 1 for _, inputs in engine.calls for values in inputs.values())
    engine.down, engine.answered_at = True, -np.inf
    with pytest.raises(BackendUnavailable):
        asyncio.run(made(engine).warm_up())


def test_a_server_that_says_nothing_fails_the_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeSilentEngine(FakeEngine):
        async def models(self) -> dict[str, GeneratorSpec]:
            await asyncio.Event().wait()
            return {}

    monkeypatch.setattr(stage, "CANARY_S", 0.05)
    with pytest.raises(DeadlineExceeded):
        asyncio.run(made(FakeSilentEngine()).warm_up())


def test_real_work_is_a_canary_itself() -> None:
    async def asked() -> None:
        engine = FakeEngine()
        sampler = made(engine)
        await sampler.sample(job(num_steps=1), conditioning(), None)
        calls = len(engine.calls)
        await sampler.canary(60)
        assert len(engine.calls) == calls
        await sampler.canary(0)
        assert len(engine.calls) == calls + 2
        engine.down = True
        await sampler.canary(60)
        with pytest.raises(BackendUnavailable):
            await sampler.canary(0)
        await sampler.close()

    asyncio.run(asked())
