"""The pipeline in this process: it closes everything that it has opened, also when it opens in vain."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from otlp_receiver import otlp_receiver
from recorded_spans import id_of, parent_of, recorded_spans
from tiny_generator import tiny_repository, tiny_spec

from choreo.errors import ChoreoError, InvalidInput, MissingDependency
from export.build import Built
from export.repository import read_spec
from serving.engines.local import LocalEngine
from serving.pipeline.fields import parse_fields
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.sampling.runner import StepBatchRunner
from serving.settings import Settings
from serving.stages import local
from serving.stages.encoder import Encoder
from serving.stages.finisher import Finisher
from serving.stages.local import LocalPipeline
from serving.stages.retriever import Retriever
from serving.stages.sampler import Sampler
from serving.util import tracing

OPENED = (Retriever, LocalEngine, Encoder, Finisher, Sampler)
SPEC = tiny_spec(text_encoder="words", text_dim=48)
OTHER = tiny_spec("other", text_encoder="words", text_dim=48)
DEAF = tiny_spec("deaf")


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is closed, in order; what is made is noted as "+name"."""
    names: list[str] = []

    def note(kind: type[Any]) -> None:
        make, close = kind.__init__, kind.close

        def made(self: Any, *args: Any, **kwargs: Any) -> None:
            make(self, *args, **kwargs)
            names.append(f"+{kind.__name__}")

        def ended(self: Any) -> Any:
            names.append(kind.__name__)
            return close(self)

        monkeypatch.setattr(kind, "__init__", made)
        monkeypatch.setattr(kind, "close", ended)

    for kind in OPENED:
        note(kind)
    return names


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Repositories that checkpoints were exported to; a checkpoint is a folder of a generator's name."""
    roots: list[Path] = []

    def build(checkpoint: Path, root: Path) -> Built:
        roots.append(root)
        if checkpoint.name == "broken":
            raise MissingDependency("no checkpoint there")
        tiny_repository(root, {"tiny": SPEC, "other": OTHER, "deaf": DEAF}[checkpoint.name])
        return Built(root, read_spec(root, checkpoint.name), "cpu", "float32", {}, False)

    monkeypatch.setattr(local, "build_repository", build)
    return roots


def settings(folder: Path, **changes: Any) -> Settings:
    given = {"weights": folder / "tiny", "model_repo": folder / "model_repo"}
    return Settings(threads=1, **(given | changes))


def made(names: list[str]) -> set[str]:
    return {name[1:] for name in names if name.startswith("+")}


def ended(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith("+")]


def test_everything_is_closed_in_reverse(closed: list[str], exported: list[Path], tmp_path: Path) -> None:
    before = threading.active_count()

    async def run() -> None:
        async with LocalPipeline(settings(tmp_path)) as pipeline:
            assert list(await pipeline.models()) == ["tiny"]
            assert pipeline.spec == SPEC
            assert ended(closed) == []
        assert ended(closed) == ["Sampler", "Finisher", "Encoder", "LocalEngine", "Retriever"]

    asyncio.run(run())
    assert exported == [tmp_path / "model_repo"]
    assert threading.active_count() == before


def test_other_checkpoints_do_not_change_what_is_served(
    closed: list[str], exported: list[Path], tmp_path: Path
) -> None:
    async def run() -> None:
        given = settings(tmp_path)
        async with LocalPipeline(given, [tmp_path / "other", tmp_path / "tiny"]) as pipeline:
            assert list(await pipeline.models()) == ["other", "tiny"]
            assert pipeline.spec == OTHER
            assert exported[0].is_dir()
        assert not given.model_repo.exists()

    asyncio.run(run())
    assert exported[0] == exported[1]
    assert not exported[0].exists()
    assert len(ended(closed)) == len(OPENED)


def test_an_engine_that_is_given_stays_open(exported: list[Path], tmp_path: Path, closed: list[str]) -> None:
    async def run() -> None:
        engine = LocalEngine(tiny_repository(tmp_path / "own", SPEC), threads=1)
        async with LocalPipeline(settings(tmp_path), engine=engine) as pipeline:
            assert pipeline.engine is engine
        assert "LocalEngine" not in ended(closed)
        assert await engine.instances("tiny.denoiser") == 1
        await engine.close()

    asyncio.run(run())
    assert exported == []


def fails(error: Exception) -> Any:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("step", ["checkpoint", "graphs", "models", "library", "encoder", "sampler"])
def test_what_was_opened_before_a_failure_is_closed(
    step: str,
    closed: list[str],
    exported: list[Path],
    tmp_path: Path,
    libraries: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, phrases, checkpoints = threading.active_count(), None, [tmp_path / "other", tmp_path / "tiny"]
    error: type[Exception] = ZeroDivisionError
    match step:
        case "checkpoint":
            checkpoints[1], error = tmp_path / "broken", MissingDependency
        case "graphs":
            monkeypatch.setattr(local, "LocalEngine", fails(ZeroDivisionError()))
        case "models":
            monkeypatch.setattr(LocalEngine, "models", fails(ZeroDivisionError()))
        case "library":
            # It is there, and its vectors are of another text encoder than the generator's.
            phrases, error = libraries[0], InvalidInput
            checkpoints = [tmp_path / "deaf"]
        case "encoder":
            monkeypatch.setattr(local, "Finisher", fails(ZeroDivisionError()))
        case "sampler":
            monkeypatch.setattr(local, "executor", fails(ZeroDivisionError()))

    async def run() -> None:
        with pytest.raises(error):
            async with LocalPipeline(settings(tmp_path), checkpoints, phrases):
                raise AssertionError("it was opened")

    asyncio.run(run())
    assert sorted(ended(closed)) == sorted(made(closed))
    assert not any(root.exists() for root in exported)
    assert threading.active_count() == before


def test_a_named_library_that_is_not_there_is_found_out_before_anything_is_exported(
    closed: list[str], exported: list[Path], tmp_path: Path
) -> None:
    async def run() -> None:
        with pytest.raises(InvalidInput, match="phrases"):
            async with LocalPipeline(settings(tmp_path), phrases=tmp_path / "nowhere"):
                pass

    asyncio.run(run())
    assert exported == []
    assert ended(closed) == ["Retriever"]


def test_one_that_fails_to_close_does_not_keep_the_others_open(
    closed: list[str], exported: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        pipeline = LocalPipeline(settings(tmp_path))
        await pipeline.__aenter__()
        monkeypatch.setattr(StepBatchRunner, "close", fails(ChoreoError("stuck")))
        with pytest.raises(ChoreoError, match="stuck"):
            await pipeline.__aexit__(None, None, None)

    asyncio.run(run())
    assert ended(closed) == ["Sampler", "Finisher", "Encoder", "LocalEngine", "Retriever"]


def test_a_motion_that_is_made_here_is_a_trace(stages: Any, tmp_path: Path) -> None:
    request = validated_request(parse_fields({"text_prompt": "a waltz"}), Attachments(), settings(tmp_path))

    async def run() -> None:
        pipeline = LocalPipeline(settings(tmp_path))
        Pipeline.__init__(pipeline, stages.stages())
        await pipeline.run(request)
        await pipeline.deliver(request, {})

    with recorded_spans() as recorded:
        asyncio.run(run())
    dances = recorded.named("dance")
    assert [dance.parent for dance in dances] == [None, None]
    for dance in dances:
        below = {span.name for span in recorded.all() if parent_of(span) == id_of(dance)}
        assert below == {"encode", "retrieve", "sample", "finish"}


def test_spans_are_sent_at_the_end(exported: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with LocalPipeline(settings(tmp_path)):
            with tracing.root("dance"):
                pass

    with otlp_receiver() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        try:
            asyncio.run(run())
        finally:
            tracing.use(None)
    assert [(span.name, span.resource["choreo.component"]) for span in receiver.spans] == [("dance", "offline")]
