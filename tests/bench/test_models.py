"""The benchmark of generators: its rows."""

import json
from pathlib import Path

import pytest

from bench.models import main
from choreo.diffusion.presets import PRESETS
from choreo.shipped import shipped


def test_two_generators(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(shipped("weights", "unet-small"))
    assert main(["--models", f"unet-small, {folder}", "--quick", "--json"]) == 0
    rows = {(row["case"], row["metric"]): row["value"] for row in json.loads(capsys.readouterr().out)["rows"]}
    for name in ("unet-small", folder):
        steps = PRESETS["fast"].num_steps
        assert steps <= rows[f"{name}, fast", "evaluations of denoiser"] <= 2 * steps
        for metric in ("milliseconds", "motions per second, 1 at a time", "motions per second, 2 at a time"):
            assert rows[f"{name}, fast", metric] > 0
        assert rows[name, "parameters"] > 1
    assert rows["unet-small", "weights"] == pytest.approx(
        shipped("weights", "unet-small", "model.safetensors").stat().st_size / 1e6
    )


@pytest.mark.parametrize("models", ["tmr-small", "nothing", "unet-small,unet-small", "unet-small,"])
def test_what_cannot_be_measured_exits_with_2(
    models: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--models", models]) == 2
    assert capsys.readouterr().err.startswith("choreo: model")
