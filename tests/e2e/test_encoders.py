"""From a recipe that names its encoders to a dance over HTTP: trained, exported, served, with a phrase library.

Encoders are tiny and of random weights; the documents' configuration, Jukebox and CLIP, is trained on features that
were computed elsewhere.
"""

import asyncio
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import yaml
from numpy.typing import NDArray
from rich.console import Console
from tiny_jukebox import jukebox_python, save_tiny_jukebox
from tiny_text_encoders import save_tiny_clip, save_tiny_t5

from choreo.data.synthetic.dances import MOVES, synthesize_dance
from choreo.motion.formats.npz import read_npz, write_npz
from choreo.music.synth import synthesize_song, write_wav
from choreo.training.recipe import load_recipe
from choreo.training.run import train
from export.build import build_repository
from export.repository import read_spec
from serving.cli.build_phrases import BuildOptions, build
from serving.engines.local import LocalEngine
from serving.http.ingress import create_app
from serving.pipeline.contracts import Stages
from serving.ray.app import Server
from serving.sampling.runner import executor
from serving.settings import Settings
from serving.stages.encoder import Encoder
from serving.stages.finisher import Finisher
from serving.stages.retriever import Retriever
from serving.stages.sampler import Sampler
from serving.triton.supervisor import TritonServer

pytestmark = pytest.mark.e2e

DANCE = {"text_prompt": "a slow waltz", "num_steps": 2, "duration": 3.0, "seed": 11}
DENOISER = {
    "model_channels": 16, "channel_mult": [1, 2], "num_res_blocks": 1, "attention_resolutions": [2], "num_heads": 2,
    "context_dim": 16,
}  # fmt: skip
SAVE: Mapping[str, Callable[[Path], None]] = {"clip": save_tiny_clip, "t5": save_tiny_t5}
RECORDINGS = 14


def export(folder: Path, data: Path | None = None, conditioner: dict[str, int] | None = None, **fields: Any) -> Path:
    """A repository of a generator that was trained for a few steps."""
    document = {
        "name": "named", "conditioner": {"context_dim": 16, "num_heads": 2} | (conditioner or {}),
        "denoiser": DENOISER, "data": {"synthetic_dances": 0 if data else 6},
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml.safe_dump(document | fields))
    checkpoint = train(load_recipe(folder / "recipe.yaml").smoke(), data, folder / "run", until=2)
    return build_repository(checkpoint, folder / "model_repo").path


def ask(
    repository: Path, *requests: tuple[str, dict[str, Any]], phrases: Path = Path("nowhere")
) -> list[httpx.Response]:
    """Answers to (path, arguments of the request), from an ingress over ONNX Runtime in this process."""

    async def run() -> list[httpx.Response]:
        settings = Settings(model_repo=repository, phrases=phrases)
        async with AsyncExitStack() as exits:
            # Not `LocalPipeline`: that refuses to begin with a library that does not fit.
            engine, encoder = LocalEngine(repository, threads=1), Encoder(settings)
            exits.push_async_callback(engine.close)
            exits.callback(encoder.close)
            retriever, finisher = Retriever(phrases), Finisher()
            exits.callback(retriever.close)
            exits.callback(finisher.close)
            sampler = Sampler(engine, executor(settings))
            exits.push_async_callback(sampler.close)
            transport = httpx.ASGITransport(create_app(settings, Stages(encoder, retriever, sampler, finisher)))
            client = httpx.AsyncClient(transport=transport, base_url="http://choreo.test", timeout=120)
            await exits.enter_async_context(client)
            return [await client.request("POST" if given else "GET", path, **given) for path, given in requests]

    return asyncio.run(run())


def form(files: dict[str, bytes], **fields: Any) -> tuple[str, dict[str, Any]]:
    """A request for a motion with attachments."""
    values = {name: json.dumps(v) if isinstance(v, bool) else str(v) for name, v in (DANCE | fields).items()}
    return "/v1/generate", {"data": values, "files": {name: (name, content) for name, content in files.items()}}


def npy(array: NDArray[np.floating]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def song(path: Path, seconds: float) -> bytes:
    samples, rate, _ = synthesize_song(120.0, seconds)
    write_wav(path, samples, rate)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["clip", "t5"])
def test_a_text_encoder_from_the_recipe_to_the_dance(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SAVE[name](tmp_path / "weights")
    monkeypatch.setenv(f"CHOREO_{name.upper()}_WEIGHTS", str(tmp_path / "weights"))
    repository = export(tmp_path, text_encoder=name, conditioner={"text_dim": 768})
    spec = read_spec(repository, "named")
    assert (spec.text_encoder, spec.text_dim, spec.music_encoder, spec.music_dim) == (name, 768, "dsp35", 35)
    moves = tmp_path / "moves"
    moves.mkdir()
    for move in ("kick", "walk"):
        write_npz(synthesize_dance(move, 120, 4.0)[0], moves / f"{move}.npz")
        (moves / f"{move}.txt").write_text(f"a dancer does a {move}")
    own, other = tmp_path / "own", tmp_path / "other"
    build(moves, own, BuildOptions(encoder=name), Console(quiet=True))
    build(moves, other, BuildOptions(), Console(quiet=True))
    upload = form({"audio": song(tmp_path / "song.wav", 3.0)})
    search = ("/v1/phrases/search", {"json": {"text_prompt": "a dancer does a kick"}})

    models, dance, words, found = ask(
        repository, ("/v1/models", {}), upload, ("/v1/generate", {"json": DANCE}), search, phrases=own
    )
    assert models.json()["models"][0] | {"text_encoder": name, "text_dim": 768} == models.json()["models"][0]
    for answer in (dance, words):
        assert answer.status_code == 200, answer.text
        assert np.isfinite(np.array(answer.json()["motion"])).all()
        assert answer.json()["meta"]["prior"]["used"], answer.json()["meta"]["prior"]
    assert found.status_code == 200, found.text
    assert found.json()["library"]["text_encoder"] == name
    assert len(found.json()["phrases"]) == 2

    (refused,) = ask(repository, ("/v1/generate", {"json": DANCE}), phrases=other)
    prior = refused.json()["meta"]["prior"]
    assert not prior["used"]
    assert f"built with the text encoder minilm (384 numbers), but {name} (768) is in use" in prior["reason"]
    assert f"choreo phrases build SOURCE --out LIBRARY --text-encoder {name}" in prior["reason"]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository of the documents' configuration, 4800 + 768, while the weights of its text encoder are there."""
    folder = tmp_path_factory.mktemp("wide")
    data = folder / "data"
    data.mkdir()
    rng, moves = np.random.default_rng(0), sorted(MOVES)
    for i in range(RECORDINGS):
        motion, _, caption = synthesize_dance(moves[i % len(moves)], 120, 3.0, i)
        write_npz(motion, data / f"dance_{i}.npz")
        (data / f"dance_{i}.txt").write_text(caption)
        np.save(data / f"dance_{i}.jukebox.npy", rng.normal(0, 40, (motion.num_frames, 4800)).astype(np.float16))
    save_tiny_clip(folder / "clip")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CHOREO_CLIP_WEIGHTS", str(folder / "clip"))
        yield export(
            folder, data, music_encoder="jukebox", text_encoder="clip", conditioner={"music_dim": 4800, "text_dim": 768}
        )


def features(frames: int = 90, columns: int = 4800, seed: int = 0) -> bytes:
    return npy(np.random.default_rng(seed).normal(0, 40, (frames, columns)).astype(np.float32))


def test_the_documents_configuration_dances_to_precomputed_features(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHOREO_JUKEBOX_PYTHON", raising=False)
    spec = read_spec(wide, "named")
    assert (spec.music_encoder, spec.music_dim, spec.text_encoder, spec.text_dim) == ("jukebox", 4800, "clip", 768)
    requests = [
        form({"features": features()}, format="npz"),
        form({"features": features()}, format="npz"),
        form({"features": features(seed=1)}, format="npz"),
        form({"features": features(columns=35)}),
        form({"features": features(columns=36)}),
        form({"audio": song(tmp_path / "song.wav", 3.0)}),
    ]
    first, again, other, narrow, odd, undecoded = ask(wide, *requests)
    motions = []
    for answer in (first, again, other):
        assert answer.status_code == 200, answer.text
        motions.append(read_npz(answer.content).positions)
        assert motions[-1].shape == (90, 22, 3)
        assert np.isfinite(motions[-1]).all()
    np.testing.assert_array_equal(motions[0], motions[1])
    # The features are listened to: little after a few steps of training, but equal ones give equal motions.
    assert np.abs(motions[0] - motions[2]).max() > 1e-6
    for answer, message in ((narrow, "the model takes 4800 columns, got 35"), (odd, "(T, 35) or (T, 4800)")):
        assert (answer.status_code, answer.json()["field"]) == (422, "features"), answer.text
        assert message in answer.json()["detail"]
    assert undecoded.status_code == 501, undecoded.text
    assert "CHOREO_JUKEBOX_PYTHON" in undecoded.json()["detail"]


def test_jukebox_itself_listens_to_a_song(wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOREO_JUKEBOX_PYTHON", jukebox_python())
    monkeypatch.setenv("CHOREO_JUKEBOX_WEIGHTS", str(save_tiny_jukebox(tmp_path / "jukebox")))
    upload = {"audio": song(tmp_path / "song.wav", 1.5)}
    first, again, longer = ask(wide, form(upload), form(upload), form(upload, duration=6.0))
    for answer, frames in ((first, 90), (again, 90), (longer, 180)):
        assert answer.status_code == 200, answer.text
        assert answer.json()["num_frames"] == frames
    assert first.json()["motion"] == again.json()["motion"]
    assert [p for p in psutil.Process().children(recursive=True) if "jukebox_worker" in " ".join(p.cmdline())] == []


def test_the_documents_configuration_on_ray_and_triton(wide: Path, tmp_path: Path) -> None:
    with (
        TritonServer(wide) as triton,
        Server(Settings(port=0, model_repo=wide), [triton.grpc_url]) as server,
        httpx.Client(base_url=server.url, timeout=120, trust_env=False) as client,
    ):
        path, given = form({"features": features()}, use_rag=False, format="npz")
        dance = client.post(path, **given)
        path, given = form({"features": features(columns=35)}, use_rag=False)
        narrow = client.post(path, **given)
    assert dance.status_code == 200, dance.text
    (alone,) = ask(wide, form({"features": features()}, use_rag=False, format="npz"))
    served, local = (read_npz(answer.content).positions for answer in (dance, alone))
    np.testing.assert_allclose(served, local, atol=1e-3)
    assert (narrow.status_code, narrow.json()["field"]) == (422, "features"), narrow.text
