"""What was encoded is not encoded again, and nothing else is taken for it; models are asked for once in a while."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from choreo.errors import BackendUnavailable, InvalidInput
from choreo.generators.base import Conditioning
from choreo.generators.spec import GeneratorSpec
from choreo.generators.unet.graphs import unet_spec
from choreo.motion.clip import Motion
from choreo.music.rhythm import Rhythm
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages import remembered
from serving.stages.remembered import OVERHEAD_BYTES, RememberedEncoder, RememberedModels, encoding_key, size_of

SPEC = unet_spec("fake", context_dim=4, mean=(0.0,) * 66, std=(1.0,) * 66)
OTHER = SPEC.model_copy(update={"name": "other"})


def job(**fields: Any) -> MotionRequest:
    return validated_request(parse_fields({"text_prompt": "waltz", "duration": 2} | fields), Attachments(), Settings())


class FakeEncoder:
    """Counts its calls; the first of them may fail."""

    def __init__(self, failures: int = 0) -> None:
        self.calls, self.warmed = 0, list[GeneratorSpec]()
        self._failures = failures

    async def encode(self, request: MotionRequest, spec: GeneratorSpec) -> EncodedRequest:
        self.calls += 1
        if self.calls <= self._failures:
            raise InvalidInput("audio", "is corrupt")
        return EncodedRequest(Conditioning(60, text=np.full(384, self.calls, np.float32)))

    async def warm_up(self, spec: GeneratorSpec) -> None:
        self.warmed.append(spec)


@pytest.mark.parametrize(("max_bytes", "calls"), [(1 << 20, 2), (0, 4)])
def test_the_same_prompt_is_encoded_once_and_another_one_again(max_bytes: int, calls: int) -> None:
    async def run() -> None:
        encoder = FakeEncoder()
        stage = RememberedEncoder(encoder, max_bytes)
        answers = [
            await stage.encode(job(**fields), SPEC)
            for fields in ({}, {"seed": 5, "num_steps": 3}, {"text_prompt": "tango"}, {})
        ]
        assert encoder.calls == stage.misses == calls
        assert stage.hits == 4 - calls
        if max_bytes:
            assert answers[0] is answers[1] is answers[3] is not answers[2]
        await stage.warm_up(SPEC)
        assert encoder.warmed == [SPEC]

    asyncio.run(run())


def test_a_song_is_encoded_again_for_other_beats() -> None:
    async def run() -> None:
        encoder = FakeEncoder()
        stage = RememberedEncoder(encoder, 1 << 20)
        song = replace(job(), audio=b"song")
        rhythms = [Rhythm(), Rhythm(120), Rhythm(121), Rhythm(120, None, True), Rhythm(None, (0.0, 0.5))]
        first = [await stage.encode(replace(song, rhythm=rhythm), SPEC) for rhythm in rhythms]
        again = [await stage.encode(replace(song, rhythm=rhythm), SPEC) for rhythm in rhythms]
        assert encoder.calls == len(rhythms)
        assert all(one is other for one, other in zip(first, again, strict=True))

    asyncio.run(run())


def test_a_failure_is_not_remembered() -> None:
    async def run() -> None:
        stage = RememberedEncoder(FakeEncoder(failures=1), 1 << 20)
        song = replace(job(), audio=b"song")
        with pytest.raises(InvalidInput, match="corrupt"):
            await stage.encode(song, SPEC)
        assert (await stage.encode(song, SPEC)).num_frames == 60

    asyncio.run(run())


def test_sizes_are_of_the_arrays() -> None:
    music, onset = np.zeros((60, 35), np.float32), np.zeros(60, np.float32)
    heard = EncodedRequest(Conditioning(60, music, np.zeros(384, np.float32), np.zeros(9), onset))
    assert size_of(heard) == 60 * 36 * 4 + 384 * 4 + 9 * 8 + OVERHEAD_BYTES
    assert size_of(EncodedRequest(Conditioning(60))) == OVERHEAD_BYTES


def changed() -> list[tuple[MotionRequest, GeneratorSpec]]:
    """Everything that an encoder looks at, each with another value."""
    plain, features = job(), np.zeros((60, 35), np.float32)
    clip = Motion(np.zeros((5, 22, 3), np.float32))
    return [
        (plain, OTHER),
        (plain, SPEC.model_copy(update={"text_encoder": "clip"})),
        (plain, SPEC.model_copy(update={"music_encoder": "jukebox"})),
        (job(text_prompt="tango"), SPEC),
        (job(duration=3), SPEC),
        (replace(plain, text=None, audio=b"song"), SPEC),
        (replace(plain, audio=b"song"), SPEC),
        (replace(plain, audio=b"songs"), SPEC),
        (replace(plain, features=features), SPEC),
        (replace(plain, features=features.reshape(35, 60)), SPEC),
        (replace(plain, features=features + 1), SPEC),
        (replace(plain, start=clip), SPEC),
        (replace(plain, num_samples=2), SPEC),
        (replace(plain, repeat_sections=True), SPEC),
        (replace(plain, rhythm=Rhythm(bpm=120)), SPEC),
        (replace(plain, rhythm=Rhythm(bpm=120, half_time=True)), SPEC),
        (replace(plain, rhythm=Rhythm(half_time=True)), SPEC),
        (replace(plain, rhythm=Rhythm(beats=(0.0, 0.5))), SPEC),
        (replace(plain, rhythm=Rhythm(beats=(0.0, 0.5 + 2**-50))), SPEC),
    ]


def test_whatever_changes_the_encoding_changes_the_key() -> None:
    keys = [encoding_key(job(), SPEC), *(encoding_key(*one) for one in changed())]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("fields", [{"seed": 9}, {"num_steps": 3}, {"guidance_scale": 1.0}, {"format": "bvh"}])
def test_whatever_does_not_leaves_it(fields: dict[str, Any]) -> None:
    assert encoding_key(job(**fields), SPEC) == encoding_key(job(), SPEC)


class FakeSampler:
    """Counts how often it is asked for its models; the first time it may fail."""

    def __init__(self, fails: bool = False) -> None:
        self.asked, self.warmed, self.sampled = 0, 0, list[Any]()
        self._fails = fails

    async def models(self) -> dict[str, GeneratorSpec]:
        self.asked += 1
        if self._fails and self.asked == 1:
            raise BackendUnavailable("down")
        return {SPEC.name: SPEC}

    async def sample(self, *args: Any) -> Any:
        self.sampled.append(args)
        return "sampled"

    async def warm_up(self) -> None:
        self.warmed += 1


def test_models_are_asked_for_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        sampler = FakeSampler()
        stage = RememberedModels(sampler)
        for _ in range(3):
            assert await stage.models() == {"fake": SPEC}
        assert sampler.asked == 1
        monkeypatch.setattr(remembered, "MODELS_FOR_S", 0.0)
        stage = RememberedModels(sampler)
        for _ in range(3):
            await stage.models()
        assert sampler.asked == 4

    asyncio.run(run())


def test_a_list_that_could_not_be_had_is_asked_for_again() -> None:
    async def run() -> None:
        stage = RememberedModels(FakeSampler(fails=True))
        with pytest.raises(BackendUnavailable):
            await stage.models()
        assert list(await stage.models()) == ["fake"]

    asyncio.run(run())


def test_all_else_goes_to_the_sampler() -> None:
    async def run() -> None:
        sampler = FakeSampler()
        stage = RememberedModels(sampler)
        request, heard = job(), Conditioning(60)
        assert await stage.sample(request, heard, None) == "sampled"
        await stage.warm_up()
        assert sampler.sampled == [(request, heard, None)]
        assert sampler.warmed == 1

    asyncio.run(run())
