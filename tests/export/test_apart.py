"""The build in a process of its own: the same models, the same errors, and nothing started for nothing."""

from pathlib import Path

import pytest
from small_network import save_small

from choreo.errors import InvalidArtifact, MissingDependency
from choreo.generators.checkpoint import WEIGHTS
from export import apart
from export.apart import build_apart
from export.build import build_repository


def test_models_are_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, root = save_small(tmp_path / "checkpoint"), tmp_path / "model repo"
    built = build_apart(checkpoint, root)
    assert not built.reused
    monkeypatch.delattr(apart, "subprocess")
    again = build_apart(checkpoint, root)
    assert again.reused
    assert build_repository(checkpoint, root) == again
    assert (again.path, again.spec, again.parity) == (built.path, built.spec, built.parity)


def test_errors_come_back_as_they_are(tmp_path: Path) -> None:
    checkpoint = save_small(tmp_path / "checkpoint")
    (checkpoint / WEIGHTS).write_bytes(b"broken")
    with pytest.raises(InvalidArtifact, match=str(checkpoint)):
        build_apart(checkpoint, tmp_path / "model_repo")
    with pytest.raises(MissingDependency):
        build_apart(tmp_path / "none", tmp_path / "model_repo")


def test_a_process_that_is_killed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart.sys, "executable", "false")
    with pytest.raises(MissingDependency, match=r"ended with 1"):
        build_apart(save_small(tmp_path / "checkpoint"), tmp_path / "model_repo")
