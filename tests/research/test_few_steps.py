"""Samplers compared on held-out windows, with a tiny generator."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import clips, dances, recipe

from choreo.generators.checkpoint import save_generator
from choreo.generators.unet.model import UNetModel
from choreo.generators.unet.training import generator_config
from research import few_steps


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Random in all its weights; the windows are the tests' own."""
    torch.manual_seed(0)
    generator = UNetModel(generator_config(recipe(), clips()))
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
