"""A short run of the study of feature caches, with a tiny generator."""

import json
from pathlib import Path

import pytest
import torch
from tiny_training import clips, dances, recipe

from choreo.generators.checkpoint import save_generator
from choreo.generators.unet.model import UNetModel
from choreo.generators.unet.training import generator_config
from research import feature_cache


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> UNetModel:
    """Random in all its weights; two stages at each of its two levels."""
    monkeypatch.setattr(feature_cache, "BATCH", 2)
    torch.manual_seed(0)
    small = recipe()
    wider = small.model_copy(update={"denoiser": small.denoiser.model_copy(update={"num_res_blocks": 2})})
    made = UNetModel(generator_config(wider, clips())).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


def test_every_case_is_scored(
    generator: UNetModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_generator(tmp_path, generator.config, generator.state_dict())
    monkeypatch.setattr(feature_cache, "open_windows", lambda data, spec, count, settings: dances(recipe()))
    assert feature_cache.main(["--data", "nowhere", "--checkpoint", str(tmp_path), "--quick", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    found = {(row["case"], row["metric"]): row["value"] for row in rows}
    assert found["ddim 6", "evaluations"] == 12
    for name in ("cache", "cache of all but the last stage"):
        share = found[name, "operations of a shallow call"]
        assert found[name, "time of a shallow call"] > 0
        assert found[f"ddim 6, {name}, 2", "evaluations"] == pytest.approx(6 + 6 * share)
        assert found[f"ddim 6, {name}, 3", "evaluations"] == pytest.approx(4 + 8 * share)
        # Guidance ends after the fourth step.
        assert found[f"dpm++2m 6, {name}, 2", "evaluations"] == pytest.approx(2 + 2 + 1 + (2 + 2 + 1) * share)
        assert found[f"dpm++2m 10, {name}, 2", "from uncached"] > 0
    far = [found[f"dpm++2m {few}", "from many steps"] for few in (4, 20)]
    assert found["dpm++2m 20", "evaluations"] > found["dpm++2m 6", "evaluations"] == 10
    assert far[0] > far[1] > 0
