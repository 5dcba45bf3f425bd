"""Checkpoints to models of a repository: what is built, kept, built again and refused."""

import hashlib
import json
import logging
import re
import shutil
from pathlib import Path

import pytest
from native_engine import needs_compiler
from small_network import save_small

from choreo.errors import InvalidArtifact, InvalidInput, MissingDependency
from choreo.generators.checkpoint import WEIGHTS, read_config
from export import models
from export.build import build_repository, exported_spec
from export.model_config import Profile, RepositorySettings, model_config
from export.native import loader
from export.onnx_graphs import TOLERANCE
from export.repository import read_configs, read_spec, record_name, served
from export.triton_config import parse, render

PROJECT = Path(__file__).parents[2]
WITHOUT_WEIGHTS = re.compile("[0-9a-f]{64}")
KEY, CONDITIONER_KEY = "small.denoiser", "small.conditioner"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("checkpoint"))


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and inode of every file, by its path: a file that was written again has another inode."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_ino) for path in files}


def files_of(name: str, files: dict[str, tuple[bytes, int]]) -> dict[str, tuple[bytes, int]]:
    return {path: content for path, content in files.items() if path.startswith(f"{name}.")}


def test_exporting_again_does_nothing_while_the_checkpoint_is_the_same(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "model_repo"
    first = build_repository(checkpoint, root)
    assert not first.reused
    weights = hashlib.sha256((checkpoint / WEIGHTS).read_bytes()).hexdigest()
    assert read_spec(root, "small") == read_config(checkpoint).spec.model_copy(update={"weights_sha256": weights})
    assert sorted(read_configs(root)) == [CONDITIONER_KEY, KEY]
    before = snapshot(root)
    with monkeypatch.context() as patch:
        patch.delattr(models, "load_generator")
        again = build_repository(checkpoint, root)
    assert again.reused
    assert (again.parity, again.spec) == (first.parity, first.spec)
    assert snapshot(root) == before
    (root / KEY / "1" / "model.onnx").unlink()
    assert not build_repository(checkpoint, root).reused
    assert snapshot(root).keys() == before.keys()


def test_a_checkpoint_that_changed_is_built_again(tmp_path: Path) -> None:
    checkpoint, root = save_small(tmp_path / "checkpoint"), tmp_path / "model_repo"
    build_repository(checkpoint, root)
    before = snapshot(root)
    save_small(checkpoint, seed=1)
    assert not build_repository(checkpoint, root).reused
    after = snapshot(root)
    assert after.keys() >= {f"{key}/1/model.onnx" for key in (CONDITIONER_KEY, KEY)}
    for key in (CONDITIONER_KEY, KEY):
        assert after[f"{key}/1/model.onnx"][0] != before[f"{key}/1/model.onnx"][0]
        before_text, after_text = (files[f"{key}/config.pbtxt"][0].decode() for files in (before, after))
        assert WITHOUT_WEIGHTS.sub("", after_text) == WITHOUT_WEIGHTS.sub("", before_text)
        assert after_text != before_text  # which says whose weights they are
    assert served(root) == ["small"]
    assert build_repository(checkpoint, root).reused


def test_two_checkpoints_share_a_repository(checkpoint: Path, tmp_path: Path) -> None:
    root, other = tmp_path / "model_repo", save_small(tmp_path / "other", "salsa", seed=1)
    build_repository(checkpoint, root)
    before = snapshot(root)
    assert not build_repository(other, root).reused
    assert served(root) == ["small", "salsa"]
    assert json.loads((root / "models.json").read_text()) == {"models": ["small", "salsa"]}
    assert sorted(read_configs(root)) == ["salsa.conditioner", "salsa.denoiser", CONDITIONER_KEY, KEY]
    for name, folder in (("small", checkpoint), ("salsa", other)):
        assert read_spec(root, name) == exported_spec(folder)
        assert (root / record_name(name)).is_file()
    assert files_of("small", snapshot(root)) == files_of("small", before)
    graphs = [(root / name / "1" / "model.onnx").read_bytes() for name in ("small.denoiser", "salsa.denoiser")]
    assert graphs[0] != graphs[1]
    assert build_repository(checkpoint, root).reused
    assert build_repository(other, root).reused
    # What becomes of one is nothing to the other, and the order of those that are served stays.
    before = snapshot(root)
    assert not build_repository(checkpoint, root, force=True).reused
    assert files_of("salsa", snapshot(root)) == files_of("salsa", before)
    assert served(root) == ["small", "salsa"]
    shutil.rmtree(root / KEY)
    with pytest.raises(MissingDependency, match="denoiser of small"):
        read_spec(root, "small")
    assert build_repository(other, root).reused


@pytest.mark.parametrize("graph", ["conditioner", "denoiser"])
@pytest.mark.parametrize("cores", [1, 2, 64])
def test_the_committed_configurations_are_what_the_exporter_writes_on_any_machine(
    graph: str, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)))
    spec = exported_spec(PROJECT / "weights" / "unet-small")
    written = model_config(spec, spec.graph(graph), Profile.CPU, RepositorySettings())
    text = (PROJECT / "model_repo" / spec.key(graph) / "config.pbtxt").read_text()
    committed = parse(text)
    assert render(committed) == text
    assert committed == written


@needs_compiler
def test_a_compiled_engine_is_built_for_the_denoiser(checkpoint: Path, tmp_path: Path) -> None:
    built = build_repository(checkpoint, tmp_path)
    folder = tmp_path / KEY / "1"
    assert max(built.parity["native"].values()) <= TOLERANCE["float32"]
    loader.check(folder)
    assert not loader.exists(tmp_path / CONDITIONER_KEY / "1")
    assert build_repository(checkpoint, tmp_path).reused
    (folder / "native.bin").unlink()
    assert not build_repository(checkpoint, tmp_path).reused
    loader.check(folder)


@pytest.mark.parametrize("why", ["no compiler", "half precision"])
def test_without_a_compiled_engine_the_graph_is_served(
    checkpoint: Path, tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*_: object) -> None:
        raise MissingDependency("there is no compiler")

    monkeypatch.setattr(models, "build_native", missing)
    with caplog.at_level(logging.WARNING):
        built = build_repository(checkpoint, tmp_path, precision="float16" if "half" in why else "float32")
    assert ("no compiler" in caplog.text) is (why == "no compiler")
    assert "native" not in built.parity
    assert not loader.exists(tmp_path / KEY / "1")
    assert build_repository(checkpoint, tmp_path, precision=built.precision).reused
    # The text of the configuration is the same on every machine.
    assert read_configs(tmp_path)[KEY].parameters["runtime"] == "auto"


def test_the_gpu_repository_parses(checkpoint: Path, tmp_path: Path) -> None:
    built = build_repository(checkpoint, tmp_path, "gpu-ort", "float16")
    configs = read_configs(tmp_path)
    assert built.precision == "float16"
    assert {c.backend for c in configs.values()} == {"onnxruntime"}
    assert {g.kind for c in configs.values() for g in c.instance_groups} == {"GPU"}


def test_bad_choices_are_typed(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as error:
        build_repository(checkpoint, tmp_path, "tpu")
    assert error.value.field == "profile"
    with pytest.raises(InvalidInput):
        build_repository(checkpoint, tmp_path, "cpu", "int3")
    with pytest.raises(MissingDependency):
        build_repository(tmp_path / "none", tmp_path)
    (checkpoint.parent / "broken").mkdir(exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        data = (checkpoint / name).read_bytes()
        (checkpoint.parent / "broken" / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InvalidArtifact):
        build_repository(checkpoint.parent / "broken", tmp_path)
