"""What a run makes of its validations: dances that are the same every time, and the best averaged weights."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import clips, dances, newest_state, recipe, trainer

from choreo.diffusion.presets import Preset
from choreo.diffusion.schedule import Prediction
from choreo.errors import InvalidInput
from choreo.generators.checkpoint import load_generator
from choreo.generators.unet.model import UNetModel
from choreo.generators.unet.training import generator_config
from choreo.training.best import Best, best_generator
from choreo.training.generator import GeneratorTask
from choreo.training.held_out_dances import HeldOutDances
from choreo.training.loop import TrainingRun


class FakeDances(HeldOutDances):
    """Scores that were written down beforehand."""

    def __init__(self, given: list[dict[str, float]]) -> None:
        object.__setattr__(self, "given", given)

    def scores(self, generator: object) -> dict[str, float]:
        return self.given.pop(0)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_generator(folder).state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def run_with(folder: Path, given: list[dict[str, float]], until: int | None = None, **options: object) -> TrainingRun:
    run = trainer(folder, recipe(validate_every=1, save_every=1, **options))
    assert isinstance(run.task, GeneratorTask)
    run.task.dances = FakeDances(given)
    run.run(until)
    return run


def test_dances_are_the_same_every_time_and_scored_beside_the_real_ones() -> None:
    r = recipe()
    torch.manual_seed(0)
    generator = UNetModel(generator_config(r, clips())).eval()
    for parameter in generator.parameters():  # many begin at zero, and so would every dance
        torch.nn.init.normal_(parameter, std=0.1)
    one, two = dances(r).dance(generator), dances(r).dance(generator)
    assert [p.shape for p in one] == [(196, 22, 3)] * 3
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(one[0] - one[1]).max() > 0
    scores = dances(r).scores(generator)
    wanted = {"fid_k", "dist_k", "foot_skating_ratio", "jerk_m_s3", "kinetic_energy_m2_s2", "beat_alignment_score"}
    assert wanted <= set(scores)
    assert {f"real/{name}" for name in wanted} <= set(scores)
    assert scores["fid_k"] > scores["real/fid_k"]


@pytest.mark.parametrize("prediction", list(Prediction))
def test_dances_of_a_generator_that_knows_the_answer_are_the_answer(prediction: Prediction) -> None:
    r = recipe(validation_num_steps=5).model_copy(update={"prediction": prediction})
    held_out = dances(r)
    truth = torch.from_numpy(np.stack([held_out.spec.normalize(w["x0"]) for w in held_out.windows[:3]]))
    generator = UNetModel(generator_config(r, clips())).eval()
    schedule = generator.denoiser.alphas_cumprod

    class FakeOracle(torch.nn.Module):
        """Knows x0."""

        def forward(self, x: torch.Tensor, t: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
            x0, a = truth.repeat_interleave(len(x) // 3, 0), schedule[t[:, 0].long()][:, None, None]
            return x0 if prediction is Prediction.X0 else (x - a.sqrt() * x0) / (1 - a).sqrt()

    generator.denoiser = FakeOracle()  # type: ignore[assignment]
    danced = held_out.dance(generator)
    for ours, theirs in zip(danced, held_out._reference.positions, strict=False):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_guidance_goes_beyond_the_unconditional_row() -> None:
    from dataclasses import replace

    held_out = dances(recipe())
    generator = UNetModel(generator_config(recipe(), clips())).eval()
    sums: list[float] = []

    class FakeDenoiser(torch.nn.Module):
        """1 where there is rhythm or prior, 0 in a row without conditions."""

        def forward(self, x: torch.Tensor, t: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
            prior, rhythm = rest[2], rest[5]
            given = (prior.abs().sum((1, 2)) + rhythm.abs().sum((1, 2)) > 0).float()
            sums.append(float(given[3:].sum()))
            return torch.ones_like(x) * given[:, None, None]

    generator.denoiser = FakeDenoiser()  # type: ignore[assignment]
    features = replace(held_out, guidance_scale=3.0, way=Preset("ddim", 1)).dance(generator)
    assert sums == [0.0]
    heard = [i for i, w in enumerate(held_out.windows[:3]) if w["rhythm"].any() or w["prior"].any()]
    assert heard
    expected = held_out.spec.denormalize(np.full((1, 66), 3.0))[0, 2]
    assert features[heard[0]][0, 0, 1] == pytest.approx(expected, abs=1e-4)


def test_broken_dances_have_no_scores(caplog: pytest.LogCaptureFixture) -> None:
    generator = UNetModel(generator_config(recipe(), clips())).eval()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.fill_(torch.nan)
    with caplog.at_level(logging.WARNING):
        assert dances(recipe()).scores(generator) == {}
    assert "cannot be scored" in caplog.text


def test_the_best_weights_are_kept_beside_the_newest(tmp_path: Path) -> None:
    given = [{"fid_k": 5.0}, {"fid_k": 3.0}, {"fid_k": 4.0}]
    run = run_with(tmp_path, given, until=2)
    at_best = weights(tmp_path / "model")
    assert same(at_best, weights(tmp_path / "last"))
    run = run_with(tmp_path, [{"fid_k": 4.0}, {"fid_k": float("nan")}, {}, {"fid_k": 3.5}])
    assert (run.step, run.task.best.value, run.task.best.step) == (6, 3.0, 2)
    assert same(at_best, weights(tmp_path / "model"))
    assert not same(at_best, weights(tmp_path / "last"))
    assert same({k: v.cpu() for k, v in run.ema.shadow.items()}, weights(tmp_path / "last"))
    scores = json.loads((tmp_path / "model/scores.json").read_text())
    assert (scores["step"], scores["fid_k"], scores["best_by"]) == (2, 3.0, "fid_k")
    assert scores["history"] == [{"step": 1, "fid_k": 5.0}, {"step": 2, "fid_k": 3.0}]
    assert scores["loss/total"] > 0
    assert [entry["step"] for entry in newest_state(tmp_path)["validations"]] == [1, 2, 3, 4, 5, 6]


def test_what_should_be_close_to_real_motion_is_best_there(tmp_path: Path) -> None:
    best = best_generator("dist_k", {"dist_k": 5.0})
    for step, value in enumerate((1.0, 8.0, 4.5, 9.0), start=1):
        best.offer(step, {"dist_k": value}, tmp_path, lambda: None)
    assert (best.step, best.value) == (3, 4.5)
    higher = best_generator("coverage_k", {})
    for step, value in enumerate((0.1, 0.4, 0.2), start=1):
        higher.offer(step, {"coverage_k": value}, tmp_path, lambda: None)
    assert higher.step == 2


def test_a_best_that_could_not_be_written_is_none(tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    best = Best("a", lambda value: value)
    assert best.offer(1, {"a": 2.0}, tmp_path, lambda: None)
    with pytest.raises(OSError, match="No space"):
        best.offer(2, {"a": 1.0}, tmp_path, full)
    assert (best.step, best.value) == (1, 2.0)


def test_a_run_without_held_out_data_keeps_the_newest(tmp_path: Path) -> None:
    run = trainer(tmp_path, recipe(), held_out=False)
    run.run()
    assert same(weights(tmp_path / "model"), weights(tmp_path / "last"))
    assert run.task.best.step == 0
    assert not (tmp_path / "model/scores.json").exists()


def test_a_run_without_dances_goes_by_the_loss(tmp_path: Path) -> None:
    run = trainer(tmp_path, recipe(validation_dances=0))
    run.run()
    scores = json.loads((tmp_path / "model/scores.json").read_text())
    assert (run.task.best.by, scores["best_by"]) == ("loss/total", "loss/total")
    assert scores["step"] == run.task.best.step > 0
    assert "fid_k" not in scores


def test_a_value_that_the_held_out_windows_lack_is_refused(tmp_path: Path) -> None:
    silent = clips()[:1]
    with pytest.raises(InvalidInput, match="beat_alignment_score, which held-out dances do not have here") as error:
        trainer(tmp_path, recipe(best_by="beat_alignment_score"), data=silent)
    assert error.value.field == "train.best_by"


def test_validations_are_logged_and_tracked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = trainer(tmp_path, recipe())
    tracked: dict[str, float] = {}
    run.accelerator.log = lambda values, step: tracked.update(values)
    with caplog.at_level(logging.INFO):
        run.run()
    assert {"validation/loss/total", "validation/fid_k", "validation/real/fid_k", "train/total"} <= set(tracked)
    assert tracked["train/windows_per_second"] > 0
    assert "step 3/6  loss/total" in caplog.text
    assert "fid_k" in caplog.text
    assert "windows/s" in caplog.text
