"""A phrase library from the command line to the dance: built, searched, served, and replaced under load."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from choreo.data.synthetic.dances import synthesize_dance
from choreo.motion.formats.npz import npz_bytes, read_npz
from choreo.music.synth import synthesize_song, write_wav
from retrieval.library.library import PhraseLibrary
from serving.engines.local import LocalEngine
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.ray.app import Server
from serving.settings import Settings
from serving.stages.local import LocalPipeline
from serving.triton.supervisor import TritonServer

pytestmark = pytest.mark.e2e

DANCE = {"text_prompt": "a dancer sways", "num_steps": 2, "duration": 6.5, "seed": 11, "phrase_max_tempo": 400.0}
WAIT_S = 120.0


def build(moves: list[str], out: Path) -> PhraseLibrary:
    """A library of synthetic dances, by `choreo phrases build`."""
    folder = out.with_name(f"{'-'.join(moves)}-motion")
    folder.mkdir()
    for move in moves:
        motion, beats, caption = synthesize_dance(move, 120.0, 9.0, seed=1)
        (folder / f"{move}.npz").write_bytes(npz_bytes(motion))
        about = {"caption": caption, "beats": beats.tolist()}
        (folder / f"{move}.meta.json").write_text(json.dumps(about))
    words = ["phrases", "build", str(folder), "--out", str(out), "--genre", "synthetic", "--licence", "apache-2.0"]
    subprocess.run([sys.executable, "-m", "serving.cli.main", *words], check=True, capture_output=True, timeout=300)
    return PhraseLibrary.open(out)


def ids(library: PhraseLibrary) -> set[str]:
    return {library[i].id for i in range(len(library))}


@dataclass
class Running:
    """The servers over a library, and a client."""

    client: httpx.Client
    repository: Path
    folder: Path
    song: bytes

    def dance(self, **fields: Any) -> dict[str, Any]:
        values = {name: str(value) for name, value in (DANCE | fields).items()}
        answer = self.client.post("/v1/generate", data=values, files={"audio": ("song.wav", self.song)})
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["meta"])

    def search(self, **fields: Any) -> dict[str, Any]:
        asked = {name: DANCE[name] for name in ("text_prompt", "duration", "phrase_max_tempo")} | fields
        values = {name: str(value) for name, value in asked.items()}
        answer = self.client.post("/v1/phrases/search", data=values, files={"audio": ("song.wav", self.song)})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def library(self) -> dict[str, Any]:
        return dict(self.client.get("/v1/phrases").json()["library"])


@pytest.fixture(scope="module")
def running(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    samples, rate, _ = synthesize_song(120.0, 8.0)
    write_wav(folder / "song.wav", samples, rate)
    build(["bounce", "walk", "sway"], folder / "lib")
    settings = Settings(port=0, model_repo=repository, phrases=folder / "lib", phrases_poll_s=0.1)
    with (
        TritonServer(repository) as triton,
        Server(settings, [triton.grpc_url]) as server,
        httpx.Client(base_url=server.url, timeout=WAIT_S, trust_env=False) as client,
    ):
        yield Running(client, repository, folder / "lib", (folder / "song.wav").read_bytes())


def test_a_dance_begins_from_the_phrases_that_a_search_shows(running: Running) -> None:
    library = PhraseLibrary.open(running.folder)
    assert running.library()["version"] == library.version
    meta, shown = running.dance(), running.search(top_n=3)
    assert meta["prior"] == {"used": True, "reason": None, "library": library.version[:12], "coverage": 1.0}
    assert shown["library"]["version"] == library.version
    scores = {phrase["id"]: phrase["score"] for phrase in shown["phrases"]}
    assert meta["phrases"]
    assert all(scores[phrase["id"]] == phrase["score"] for phrase in meta["phrases"])
    assert set(scores) <= ids(library)
    assert all(phrase["licence"] == "apache-2.0" for phrase in meta["phrases"])
    before = running.client.get("/metrics").text
    assert running.dance()["phrases"] == meta["phrases"]
    hits = [
        t.count('choreo_prior_cache_total{result="hit"} 1.0') for t in (before, running.client.get("/metrics").text)
    ]
    assert hits == [0, 1]


def test_in_process_the_same_phrases_are_used_and_the_motion_is_the_same(running: Running) -> None:
    async def here() -> Any:
        engine = LocalEngine(running.repository)
        fields = parse_fields(DANCE | {"foot_lock": False})
        request = validated_request(fields, Attachments(audio=running.song), Settings())
        try:
            async with LocalPipeline(Settings(), phrases=running.folder, engine=engine) as pipeline:
                return await pipeline.run(request)
        finally:
            await engine.close()

    values = {name: str(value) for name, value in DANCE.items()} | {"format": "npz", "foot_lock": "false"}
    answer = running.client.post("/v1/generate", data=values, files={"audio": ("song.wav", running.song)})
    served, local = read_npz(answer.content), asyncio.run(here())
    assert served.meta["phrases"] == local.retrieved.phrases()
    assert np.abs(served.positions - local.motion.positions).max() <= 1e-3


def test_a_filter_that_nothing_passes_is_said_and_the_dance_goes_on(running: Running) -> None:
    meta = running.dance(phrase_genre="polka")
    assert (meta["prior"]["used"], meta["prior"]["reason"]) == (False, "no phrase passes the filter")
    assert meta["phrases"] == []
    assert running.search(phrase_genre="polka")["phrases"] == []
    answer = running.client.post("/v1/generate", json={"text_prompt": "x", "phrase_variety": 2})
    assert (answer.status_code, answer.json()["field"]) == (422, "phrase_variety")


def test_a_newer_library_takes_over_under_load_and_a_deleted_one_stays(running: Running, tmp_path: Path) -> None:
    old = PhraseLibrary.open(running.folder)
    new = build(["turn", "kick"], tmp_path / "new")
    known = {library.version[:12]: ids(library) for library in (old, new)}
    metas: list[dict[str, Any]] = []

    def caller(number: int) -> None:
        while not metas or metas[-1]["prior"]["library"] != new.version[:12]:
            metas.append(running.dance(text_prompt=f"a dancer sways {len(metas)} {number}", num_steps=1))
            assert len(metas) < 1000

    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(caller, number) for number in range(3)]
        shutil.copytree(running.folder, tmp_path / "old")
        running.folder.rename(tmp_path / "aside")
        (tmp_path / "new").rename(running.folder)
        for call in calls:
            call.result(WAIT_S)
    for meta in metas:
        assert {phrase["id"] for phrase in meta["phrases"]} <= known[meta["prior"]["library"]]
    shutil.rmtree(running.folder)
    assert running.dance()["prior"]["library"] == new.version[:12]
    assert running.library()["version"] == new.version
    (tmp_path / "old").rename(running.folder)
