"""Samplers compared on held-out windows, with a tiny generator."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import clips, dances, recipe

from bench import few_steps, held_out
from choreo.errors import InvalidInput
from choreo.generators.checkpoint import Generator, save_generator
from choreo.training.run import generator_config
from serving.settings import Settings


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Random in all its weights; the windows are the tests' own."""
    torch.manual_seed(0)
    generator = Generator(generator_config(recipe(), clips()))
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    save_generator(tmp_path, generator.config, generator.state_dict())
    monkeypatch.setattr(few_steps, "open_windows", lambda data, spec, count, settings: dances(recipe()))
    return tmp_path


def measured(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[tuple[str, str], Any]:
    words = ["--data", "nowhere", "--quick", "--json", *argv]
    assert few_steps.main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == " ".join(["choreo bench few_steps", *words])
    return {(row["case"], row["metric"]): row["value"] for row in document["rows"]}


def test_every_case_is_scored_with_its_evaluations(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "--checkpoint", str(checkpoint), "--student", str(checkpoint))
    evaluations = {case: value for (case, metric), value in found.items() if metric == "evaluations"}
    assert evaluations == {
        "ddim 4": 8, "ddim 50": 100, "fast": 10, "draft": 7, "fast unguided": 6, "undistilled lcm 1": 2,
        "undistilled lcm 2": 4, "undistilled lcm 4": 8, "student lcm 1": 1, "student lcm 2": 2, "student lcm 4": 4,
    }  # fmt: skip
    assert {case for case, metric in found if metric == "fid_k"} == {"mocap", *evaluations}
    assert found["ddim 4", "from many steps"] == 0
    assert all(found[case, "from many steps"] > 0 for case in evaluations if case != "ddim 4")


def test_without_a_student_there_is_a_row_that_says_so(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ("student", "skipped") in measured(capsys, "--checkpoint", str(checkpoint))


def test_what_is_missing_or_senseless_is_told_by_the_exit_code(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert few_steps.main(["--data", "x", "--checkpoint", str(tmp_path / "none")]) == 1
    assert few_steps.main(["--data", "x", "--checkpoint", str(checkpoint), "--many", "0"]) == 2
    errors = capsys.readouterr().err
    assert "is not a usable checkpoint" in errors
    assert "num_steps: must be between 1 and 1000, got 0" in errors
    with pytest.raises(InvalidInput, match="between 2 and 128"):
        held_out.open_windows(tmp_path, generator_config(recipe(), clips()).spec, 1, Settings())


def test_distances_are_of_joints() -> None:
    one = [np.zeros((5, 22, 3)), np.zeros((9, 22, 3))]
    assert held_out.apart(one, [p + np.array([0.3, 0, 0.4]) for p in one]) == pytest.approx(0.5)
