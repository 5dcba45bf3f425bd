"""The sampler on a fake engine whose denoiser is a known function, so that every claim can be checked by arithmetic."""

import asyncio
import itertools
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from choreo.diffusion.schedule import Prediction
from choreo.diffusion.trajectory import OVERLAP
from choreo.errors import BackendUnavailable, DeadlineExceeded, InvalidInput
from choreo.generators.base import Conditioning
from choreo.generators.spec import GeneratorSpec
from choreo.generators.unet.graphs import unet_spec
from choreo.motion.clip import Motion
from choreo.motion.kinematics import forward_kinematics
from serving.engines import leases
from serving.engines.leases import LeaseBoard, Leases
from serving.errors import ModelUnavailable
from serving.pipeline.fields import parse_fields
from serving.pipeline.phrases import Prior
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.results import NO_STEPS, StepCounts
from serving.pipeline.validation import validated_request
from serving.sampling.runner import executor
from serving.settings import Settings
from serving.stages import sampler as stage
from serving.stages.context_cache import ContextCache
from serving.stages.sampler import Sampler


def unet(name: str = "fake", **changes: Any) -> GeneratorSpec:
    return unet_spec(name, **({"context_dim": 4, "mean": (0.5,) * 66, "std": (2.0,) * 66} | changes))


SPEC = unet()


class FakeEngine:
    """Denoiser: x0 = 0.25 x + mean of the prior's mask + text presence; keeps what it was sent."""

    def __init__(self, *specs: GeneratorSpec) -> None:
        self.specs = {spec.name: spec for spec in specs or (SPEC,)}
        self.calls: list[tuple[str, dict[str, NDArray[np.float32]]]] = []
        self.down = False
        self.answered_at = -np.inf

    async def models(self) -> dict[str, GeneratorSpec]:
        if not self.specs:
            raise BackendUnavailable("no server named its models")
        return dict(self.specs)

    async def instances(self, graph: str) -> int:
        return 1

    async def infer(
        self, graph: str, inputs: Mapping[str, NDArray[np.float32]], *, deadline: float | None = None
    ) -> dict[str, NDArray[np.float32]]:
        if self.down:
            raise BackendUnavailable("down")
        name, _, graph = graph.rpartition(".")
        self.calls.append((graph, {name: values.copy() for name, values in inputs.items()}))
        self.answered_at = time.monotonic()
        spec = self.specs[name]
        if graph == "conditioner":
            rows, dim = len(inputs["text"]), spec.graph(graph).output_shapes["context"][1]
            context = np.tile(inputs["has_text"][:, :, None], (1, 50, dim)).astype(np.float32)
            return {"context": context, "context_mask": np.ones((rows, 50), np.float32)}
        bias = inputs["context"][:, :1, :1] + inputs["prior"][:, :, -1:]
        out = 0.25 * inputs["x"] + bias
        held = inputs["known_mask"]
        (output,) = spec.graph(graph).output_shapes
        return {output: (held * inputs["known"] + (1 - held) * out).astype(np.float32)}

    async def close(self) -> None: ...

    async def statistics(self) -> dict[str, int]:
        return {}

    @property
    def graphs(self) -> list[str]:
        return [graph for graph, _ in self.calls]


def job(**fields: Any) -> MotionRequest:
    return validated_request(parse_fields({"text_prompt": "waltz", "seed": 5, **fields}), Attachments(), Settings())


def conditioning(num_frames: int = 196, **changes: Any) -> Conditioning:
    return replace(Conditioning(num_frames, text=np.ones(384, np.float32)), **changes)


def made(engine: FakeEngine, **options: Any) -> Sampler:
    return Sampler(engine, executor(Settings()), **options)


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


# Samples


def test_samples_of_one_request_have_their_seeds_and_share_step_batches() -> None:
    async def sampled() -> Any:
        engine = FakeEngine()
        sampler = made(engine)
        several = await sampler.samples(job(num_samples=3, num_steps=4), conditioning(), None)
        calls = engine.graphs.count("denoiser")
        alone = [await sampler.sample(job(seed=seed, num_steps=4), conditioning(), None) for seed in (5, 6, 7)]
        await sampler.close()
        return several, calls, alone

    several, calls, alone = asyncio.run(sampled())
    assert calls == 4
    assert len(several) == 3
    for one, other in zip(several, alone, strict=True):
        np.testing.assert_array_equal(one.features, other.features)


def test_an_error_of_one_sample_ends_all() -> None:
    async def sampled() -> None:
        engine = FakeEngine()
        engine.down = True
        sampler = made(engine)
        with pytest.raises(BackendUnavailable):
            await sampler.samples(job(num_samples=3), conditioning(), None)
        assert len(asyncio.all_tasks()) <= 2  # this one, and the sampler's own
        await sampler.close()

    asyncio.run(sampled())


def test_many_samples_of_one_request_do_not_hold_up_another() -> None:
    async def sampled() -> None:
        ended: list[str] = []
        sampler = made(FakeEngine(), concurrency=2)

        async def ending(name: str, work: Any) -> None:
            await work
            ended.append(name)

        many = sampler.samples(job(num_samples=8, num_steps=6), conditioning(), None)
        first = asyncio.ensure_future(ending("many", many))
        await asyncio.sleep(0)
        one = asyncio.ensure_future(ending("one", sampler.sample(job(num_steps=6), conditioning(), None)))
        await asyncio.gather(first, one)
        assert ended == ["one", "many"]
        await sampler.close()

    asyncio.run(sampled())


def test_each_sample_has_its_share_of_one_requests_weight() -> None:
    weights: list[float] = []

    class FakeExecutor:
        """Notes the weight of what it is given."""

        async def run(self, trajectory: Any, spec: GeneratorSpec) -> None:
            weights.append(trajectory.weight)
            raise BackendUnavailable("it was only noted")

    async def sampled() -> None:
        sampler = Sampler(FakeEngine(), lambda _: FakeExecutor())  # type: ignore[arg-type,return-value]
        with pytest.raises(BackendUnavailable):
            await sampler.samples(job(num_samples=4), conditioning(), None)

    asyncio.run(sampled())
    assert weights
    assert set(weights) == {1 / 4}


# Canaries


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


# Generators that come, go and change


@pytest.fixture
def board(tmp_path: Path) -> LeaseBoard:
    board = LeaseBoard(tmp_path / "leases")
    board.publish(["fake", "other"])
    return board


def test_only_what_the_supervisor_serves_is_listed_in_its_order(board: LeaseBoard, tmp_path: Path) -> None:
    async def listed() -> None:
        sampler = made(FakeEngine(unet("third"), SPEC, unet("other")), leases=Leases(tmp_path / "leases"))
        assert list(await sampler.models()) == ["fake", "other"]
        board.publish(["other", "third", "unheard-of"])
        assert list(await sampler.models()) == ["other", "third"]
        board.publish([])
        assert await sampler.models() == {}
        for model in (None, "fake"):
            with pytest.raises(ModelUnavailable, match="no model is served"):
                await sampler.sample(job(model=model), conditioning(), None)

    asyncio.run(listed())


def test_a_request_waits_for_a_reload_and_uses_what_was_loaded(
    board: LeaseBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "POLL_S", 0)

    async def reloaded() -> None:
        engine = FakeEngine(SPEC)
        board.publish(["fake"])
        sampler = made(engine, leases=Leases(tmp_path / "leases"))
        before = await sampler.sample(job(num_steps=2), conditioning(), None)
        board.publish(["fake"], ["fake"])
        engine.specs = {}  # there is nothing on the server at this moment
        waiting = asyncio.create_task(sampler.sample(job(num_steps=2), conditioning(), None))
        for _ in range(20):
            await asyncio.sleep(0)
        assert list(await sampler.models()) == ["fake"]
        assert not waiting.done()
        engine.specs = {"fake": unet(std=(4.0,) * 66, context_dim=6)}
        board.publish(["fake"])
        after = await asyncio.wait_for(waiting, 10)
        np.testing.assert_allclose((before.features - 0.5) * 2, after.features - 0.5, rtol=1e-5, atol=1e-5)
        await sampler.close()

    asyncio.run(reloaded())


def test_rows_that_were_made_before_a_reload_are_made_again(board: LeaseBoard, tmp_path: Path) -> None:
    """The weights may be other ones, and the spec is the same."""

    async def reloaded() -> None:
        engine = FakeEngine()
        sampler = made(engine, cache=ContextCache(1 << 20), leases=Leases(tmp_path / "leases"))
        for expected in (1, 1):
            await sampler.sample(job(num_steps=1), conditioning(), None)
            assert engine.graphs.count("conditioner") == expected
        board.publish(["fake", "other"], ["fake"])
        board.publish(["fake", "other"])
        await sampler.sample(job(num_steps=1), conditioning(), None)
        assert engine.graphs.count("conditioner") == 2
        await sampler.close()

    asyncio.run(reloaded())


def test_what_is_kept_for_a_generator_is_given_back_when_its_requests_have_ended(
    board: LeaseBoard, tmp_path: Path
) -> None:
    released: list[str] = []
    go = asyncio.Event()

    class FakeExecutor:
        async def run(self, trajectory: Any, spec: GeneratorSpec) -> None:
            await go.wait()
            raise BackendUnavailable("it was only held")

        async def release(self, model: str) -> None:
            released.append(model)

        def take_counts(self) -> StepCounts:
            return NO_STEPS

        async def close(self) -> None: ...

    async def removed() -> None:
        engine = FakeEngine(SPEC, unet("other"))
        sampler = Sampler(engine, lambda _: FakeExecutor(), leases=Leases(tmp_path / "leases"))
        under_way = asyncio.create_task(sampler.sample(job(model="other"), conditioning(), None))
        await asyncio.sleep(0)
        board.publish(["fake"])
        assert list(await sampler.models()) == ["fake"]
        assert released == []
        go.set()
        await asyncio.wait([under_way])
        await sampler.models()
        await sampler.models()
        assert released == ["other"]

    asyncio.run(removed())
