"""Several samples of a request, and pauses on its beats, through the whole pipeline with a small network."""

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_network import save_small

from choreo.errors import InvalidInput, NonFiniteOutput
from choreo.motion.clip import Motion
from choreo.motion.formats.npz import npz_bytes, read_performance
from choreo.music.synth import synthesize_song, write_wav
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.results import Result, SamplingResult
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.encoder import Encoder
from serving.stages.local import LocalPipeline
from serving.stages.sampler import Sampler

SMALL: dict[str, Any] = {"seed": 7, "num_steps": 4, "use_rag": False, "duration": 8.0}
PLAIN: dict[str, Any] = {"smooth": False, "bone_lengths": False, "foot_lock": False}


class Dances:
    """The pipeline over a small network, on an event loop of its own, and a song at 120 BPM."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(
            weights=save_small(folder / "small"), model_repo=folder / "repository", threads=1, max_seconds=100.0
        )
        samples, rate, _ = synthesize_song(120.0, 12.0)
        write_wav(folder / "song.wav", samples, rate)
        self.song = (folder / "song.wav").read_bytes()
        self.runner = asyncio.Runner()
        self.pipeline = self.runner.run(LocalPipeline(self.settings).__aenter__())

    def request(self, start: Motion | None = None, **fields: Any) -> MotionRequest:
        """A request for a dance to the song."""
        parts = Attachments(audio=self.song, start=None if start is None else npz_bytes(start))
        return validated_request(parse_fields(SMALL | fields), parts, self.settings)

    def run(self, start: Motion | None = None, **fields: Any) -> Result:
        """A dance to the song."""
        return self.runner.run(self.pipeline.run(self.request(start, **fields)))

    def close(self) -> None:
        self.runner.run(self.pipeline.__aexit__(None, None, None))
        self.runner.close()


@pytest.fixture(scope="module")
def dances(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dances]:
    made = Dances(tmp_path_factory.mktemp("samples"))
    yield made
    made.close()


def test_the_best_of_several_is_the_dance_of_its_seed(dances: Dances, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[MotionRequest] = []
    encode = Encoder.encode

    async def counted(self: Encoder, request: MotionRequest, spec: Any) -> Any:
        encoded.append(request)
        return await encode(self, request, spec)

    monkeypatch.setattr(Encoder, "encode", counted)
    best = dances.run(num_samples=4)
    assert len(encoded) == 1
    scores = best.motion.meta["samples"]
    assert [score["seed"] for score in scores] == [7, 8, 9, 10]
    (chosen,) = [score for score in scores if score["chosen"]]
    assert chosen["total"] == max(score["total"] for score in scores if score["admitted"])
    assert all(score["beats"] is not None and score["text"] is None for score in scores)
    alone = dances.run(seed=chosen["seed"])
    np.testing.assert_allclose(best.motion.positions, alone.motion.positions, atol=1e-5)
    assert not {"samples", "samples_failed"} & alone.motion.meta.keys()
    assert best.rows["denoiser"] == 4 * alone.rows["denoiser"]
    assert best.steps.batches < 4 * alone.steps.batches  # they shared them
    assert best.seconds["rank"] > 0


def fail(
    monkeypatch: pytest.MonkeyPatch, in_the_network: Collection[int] = (), in_the_features: Collection[int] = ()
) -> None:
    """Have samples of some seeds fail in the sampling stage, and those of others in the finishing stage."""
    sample = Sampler._sample

    async def failing(self: Sampler, request: MotionRequest, *more: Any) -> SamplingResult:
        done = await sample(self, request, *more)
        if request.seed in in_the_network:
            raise NonFiniteOutput("the denoiser produced NaN or infinity in 'x0'")
        return replace(done, features=done.features * np.nan) if request.seed in in_the_features else done

    monkeypatch.setattr(Sampler, "_sample", failing)


def test_the_best_of_the_finite_samples_is_the_dance(dances: Dances, monkeypatch: pytest.MonkeyPatch) -> None:
    every = dances.run(num_samples=4)
    (best,) = [score["seed"] for score in every.motion.meta["samples"] if score["chosen"]]
    spoilt = next(seed for seed in (7, 8, 9, 10) if seed != best)
    left = [seed for seed in (7, 8, 9, 10) if seed not in (best, spoilt)]
    alone = {seed: dances.run(seed=seed) for seed in left}
    fail(monkeypatch, in_the_network={best}, in_the_features={spoilt})
    done = dances.run(num_samples=4)
    scores = done.motion.meta["samples"]
    assert [score["seed"] for score in scores] == left
    (chosen,) = [score for score in scores if score["chosen"]]
    admitted = [score for score in scores if score["admitted"]] or scores  # of two, neither may be near the median
    assert chosen["total"] == max(score["total"] for score in admitted)
    np.testing.assert_allclose(done.motion.positions, alone[chosen["seed"]].motion.positions, atol=1e-5)
    assert done.motion.meta["samples_failed"] == done.samples_failed == 2
    assert (every.motion.meta["samples_failed"], every.samples_failed) == (0, 0)
    assert done.rows["denoiser"] == 3 * alone[left[0]].rows["denoiser"]


def test_one_finite_sample_is_enough_and_a_file_says_so(dances: Dances, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = dances.run(seed=9)
    fail(monkeypatch, in_the_network={7}, in_the_features={8})
    file = dances.runner.run(dances.pipeline.deliver(dances.request(num_samples=3, format="npz"), {}))
    motion = read_performance(file.body, "file").single()
    np.testing.assert_allclose(motion.positions, alone.motion.positions, atol=1e-5)
    assert [(score["seed"], score["chosen"]) for score in motion.meta["samples"]] == [(9, True)]
    assert motion.meta["samples_failed"] == file.samples_failed == 2


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ({"in_the_network": {7, 8, 9}}, "the denoiser produced NaN"),
        ({"in_the_features": {7, 8, 9}}, "decoded motion holds NaN"),
        ({"in_the_network": {7}, "in_the_features": {8, 9}}, "decoded motion holds NaN"),
    ],
)
def test_a_request_fails_where_all_of_its_samples_do(
    dances: Dances, monkeypatch: pytest.MonkeyPatch, seeds: dict[str, set[int]], said: str
) -> None:
    fail(monkeypatch, **seeds)
    with pytest.raises(NonFiniteOutput, match=said):
        dances.run(num_samples=3)


def test_the_same_request_gives_the_same_dance(dances: Dances) -> None:
    first, second = dances.run(num_samples=3), dances.run(num_samples=3)
    np.testing.assert_allclose(first.motion.positions, second.motion.positions, atol=1e-5)
    assert first.motion.meta["samples"] == second.motion.meta["samples"]


def test_a_file_lists_the_samples_as_well(dances: Dances) -> None:
    file = dances.runner.run(dances.pipeline.deliver(dances.request(num_samples=2, format="npz"), {}))
    assert [score["seed"] for score in read_performance(file.body, "file").meta["samples"]] == [7, 8]


def test_more_motion_than_one_request_may_have_is_refused_when_the_song_is_known(dances: Dances) -> None:
    with pytest.raises(InvalidInput, match=r"num_samples: 10 dances of 12\.\d s exceed the 100 s") as caught:
        dances.run(duration=None, num_samples=10)
    assert caught.value.field == "num_samples"


def test_pauses_are_moved_where_beats_are_sure_unless_it_is_switched_off(dances: Dances) -> None:
    heard, off = dances.run(), dances.run(on_beat=False)
    report = heard.motion.meta["postprocess"]["on_beat"]
    assert report["applied"]
    assert report["beats"] > 10
    assert 0 < report["max_shift_ms"] <= 120
    assert not off.motion.meta["postprocess"]["on_beat"]["applied"]
    assert np.abs(heard.motion.positions - off.motion.positions).max() > 0.01
    assert heard.num_frames == off.num_frames == 240


def test_the_frames_of_a_start_stay(dances: Dances) -> None:
    start = Motion(dances.run(on_beat=False, seed=1).motion.positions[:45])
    moved, off = (dances.run(start, on_beat=on, **PLAIN).motion for on in (True, False))
    assert moved.meta["postprocess"]["on_beat"]["applied"]
    across = [0, 2]  # heights change with the floor, which the whole motion says
    np.testing.assert_array_equal(moved.positions[:45, :, across], off.positions[:45, :, across])
    assert (moved.positions[60:] != off.positions[60:]).any()


def test_who_asks_for_it_is_told_that_no_beat_is_sure(dances: Dances) -> None:
    silence = replace(dances.request(on_beat=True), audio=None, features=np.zeros((300, 35), np.float32))
    done = dances.runner.run(dances.pipeline.run(silence))
    assert not done.motion.meta["postprocess"]["on_beat"]["applied"]
    assert any("no beat of the song is sure" in note for note in done.motion.meta["notes"])
    assert not any("sure" in note for note in dances.run(on_beat=True).motion.meta["notes"])
