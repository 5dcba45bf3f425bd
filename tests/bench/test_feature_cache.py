"""A U-Net that leaves its lower levels out: exact where nothing changed, cheaper everywhere."""

import json
from pathlib import Path

import pytest
import torch
from tiny_training import clips, dances, recipe
from torch.utils.flop_counter import FlopCounterMode

from bench import feature_cache
from bench.feature_cache import CachedUNet, cached
from choreo.generators.checkpoint import Generator, save_generator
from choreo.generators.unet.network import MotionUNet
from choreo.training.run import generator_config


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> Generator:
    """Random in all its weights; two stages at each of its two levels."""
    monkeypatch.setattr(feature_cache, "BATCH", 2)
    torch.manual_seed(0)
    small = recipe()
    wider = small.model_copy(update={"denoiser": small.denoiser.model_copy(update={"num_res_blocks": 2})})
    made = Generator(generator_config(wider, clips())).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


@pytest.mark.parametrize("last_only", [False, True])
@torch.no_grad()
def test_a_shallow_call_with_features_of_its_own_step_is_a_whole_one(generator: Generator, last_only: bool) -> None:
    inputs = feature_cache._inputs(generator.spec)
    plain = generator.denoiser(*inputs)
    with cached(generator, last_only) as network:
        network.every = 2
        for _ in range(4):
            torch.testing.assert_close(generator.denoiser(*inputs), plain)
        other = [inputs[0] + 1, *inputs[1:]]
        whole, shallow = (generator.denoiser(*x) for x in (inputs, other))
    assert (shallow - generator.denoiser(*other)).abs().max() > 1e-4
    torch.testing.assert_close(whole, plain)
    assert type(generator.denoiser.network) is MotionUNet


@torch.no_grad()
def test_shallow_calls_cost_less_and_those_of_one_stage_least(generator: Generator) -> None:
    shares = []
    for last_only in (False, True):
        with cached(generator, last_only) as network:
            shares.append(feature_cache.shallow_cost(generator, network, repeats=1).operations)
    assert 0 < shares[1] < shares[0] < 1
    network = CachedUNet(generator.denoiser.network)  # type: ignore[arg-type]
    generator.denoiser.network = network
    network.every = 3
    inputs, counts = feature_cache._inputs(generator.spec), []
    for _ in range(6):
        with FlopCounterMode(display=False) as counter:
            generator.denoiser(*inputs)
        counts.append(counter.get_total_flops())
    assert counts == [counts[0], counts[1], counts[1]] * 2
    assert counts[1] == pytest.approx(shares[0] * counts[0])


def test_every_case_is_scored(
    generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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
