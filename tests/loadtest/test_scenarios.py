"""What is asked for is what the real interface takes, and refuses."""

import asyncio
import re
from collections import Counter
from typing import Any

import httpx
import numpy as np
import pytest

from choreo.generators.spec import GeneratorSpec
from choreo.generators.unet.graphs import unet_spec
from choreo.motion.formats.formats import FORMATS, Format
from choreo.music.audio import decode_audio
from choreo.music.isolated import decode_audio_isolated
from choreo.text.prompts import check_text
from loadtest.answers import judged
from loadtest.bad_requests import bad_requests
from loadtest.payloads import Songs, prompt
from loadtest.samples import Outcome
from loadtest.scenarios import BAD_SHARE, SHORT, LoadRequest, Requests, Scenario, requests_of
from serving.http.ingress import create_app
from serving.pipeline.contracts import Stages
from serving.pipeline.request import MotionRequest
from serving.settings import Settings


class FakeStage:
    """Refuses what the real stages refuse; nothing else may reach it."""

    async def models(self) -> dict[str, GeneratorSpec]:
        return {"fake": unet_spec("fake", context_dim=8, mean=(0.0,) * 66, std=(1.0,) * 66)}

    async def encode(self, request: MotionRequest, spec: GeneratorSpec) -> None:
        assert request.audio is not None
        await asyncio.to_thread(decode_audio_isolated, request.audio, max_seconds=1)


@pytest.fixture(scope="module")
def mixed() -> Requests:
    return requests_of(Scenario.MIXED, 5)


def ask(*requests: LoadRequest) -> list[httpx.Response]:
    """The real interface's answers."""

    async def answers() -> list[httpx.Response]:
        fake: Any = FakeStage()
        app: Any = create_app(Settings(), Stages(fake, fake, fake, fake))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://choreo.test") as client:
            return [await client.request(r.method, r.path, headers=r.headers, content=r.body or None) for r in requests]

    return asyncio.run(answers())


def test_the_same_seed_and_number_ask_for_the_same(mixed: Requests) -> None:
    again = requests_of(Scenario.MIXED, 5)
    assert [again(i) for i in (7, 3, 11)] == [mixed(i) for i in (7, 3, 11)]
    assert len({mixed(i).body for i in range(100) if not mixed(i).kind.startswith("bad")}) > 70


def test_every_bad_request_gets_the_refusal_that_it_must_get(mixed: Requests) -> None:
    found = {r.kind: r for r in map(mixed, range(1000)) if r.kind.startswith("bad")}
    assert len(found) == len(bad_requests())
    for request, response in zip(found.values(), ask(*found.values()), strict=True):
        answer = judged(request, response.status_code, response.headers, response.content)
        assert answer.outcome is Outcome.REFUSED, (request.kind, response.status_code, response.text)


def test_mixed_requests_are_bad_in_their_share(mixed: Requests) -> None:
    kinds = Counter(mixed(i).kind.partition(":")[0] for i in range(400))
    assert abs(kinds["bad"] / 400 - BAD_SHARE) < 0.08
    assert min(kinds["prompt"], kinds["song"]) > 50


def test_formats_come_in_turn() -> None:
    requests = requests_of(Scenario.FORMATS, 0)
    formats = [fmt for fmt in FORMATS if not fmt.needs_blender]
    assert [requests(i).format for i in range(2 * len(formats))] == [*formats, *formats]


def test_a_piece_is_danced_in_exactly_its_frames_and_no_two_are_alike() -> None:
    songs, rng = Songs(SHORT[1], 0), np.random.default_rng(0)
    for frames in (*SHORT, 31, 97, 179):
        assert decode_audio(songs.piece(frames, rng)).num_frames == frames
    assert len({songs.piece(60, rng) for _ in range(200)}) == 200


def test_whole_songs_have_no_duration_but_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.scenarios.LONG", (40, 90))
    request = requests_of(Scenario.BULK, 0)(3)
    assert b"duration" not in request.body
    assert (request.format, request.kind) == (Format.NPZ, "whole song")
    song = request.body[request.body.index(b"RIFF") :]
    assert decode_audio(song[: song.index(b"\r\n--")]).num_frames == request.frames


def test_prompts_have_many_lengths_and_are_all_allowed() -> None:
    rng = np.random.default_rng(0)
    prompts = [prompt(rng) for _ in range(300)]
    assert all(check_text(text) == text for text in prompts)
    words = [len(re.findall(r"\w+", text)) for text in prompts]
    assert min(words) <= 8
    assert max(words) >= 30
    assert len(set(words)) > 15
