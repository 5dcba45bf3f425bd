"""What a training refuses, and whether it says what is wrong with what."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import clips, newest_state, recipe, trainer

from choreo.data.clip import Clip
from choreo.diffusion.schedule import Prediction, ScheduleName
from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.unet.config import UNetConfig
from choreo.generators.unet.recipe import UNetRecipe
from choreo.generators.unet.training import generator_config
from choreo.models.conditioner_config import ConditionerConfig
from choreo.training.recipe import load_recipe
from choreo.training.resuming import last_step, refuse_another_run
from choreo.training.splits import check_clips

QUICK = {"validation_dances": 0, "validate_every": 100, "save_every": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that stopped after its second step."""
    folder = tmp_path_factory.mktemp("run")
    trainer(folder, recipe(**QUICK)).run(until=2)
    return folder


@pytest.fixture
def state(run: Path) -> dict:
    return newest_state(run)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("denoiser", UNetConfig(model_channels=16, channel_mult=(1, 2), num_heads=2, context_dim=8)),
        ("conditioner", ConditionerConfig(context_dim=8, text_dim=8, num_heads=2, num_layers=2)),
        ("prediction", Prediction.EPS),
        ("schedule", ScheduleName.LINEAR),
        ("num_train_timesteps", 500),
        ("architecture", "transformer"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(state: dict, field: str, value: object) -> None:
    other = recipe().model_copy(update={field: value})
    with pytest.raises(InvalidArtifact, match=f"run/step_2 was trained with another {field}; choose another --out"):
        refuse_another_run(state, other, generator_config(recipe(), clips()), Path("run/step_2"))


def test_a_checkpoint_of_other_data_is_refused(run: Path) -> None:
    other = [replace(c, features=c.features * 1.1) for c in clips()]
    with pytest.raises(InvalidArtifact, match="was trained on other data: its mean differs; give the --data"):
        trainer(run, recipe(**QUICK), data=other)
    quieter = [replace(c, music=None if c.music is None else c.music * 0.5) for c in clips()]
    with pytest.raises(InvalidArtifact, match="its music_mean differs"):
        trainer(run, recipe(**QUICK), data=quieter)


def test_a_checkpoint_that_does_not_say_what_it_is_is_refused(state: dict) -> None:
    config = generator_config(recipe(), clips())
    for broken in ({}, {"recipe": "{}"}, state | {"config": "{}"}):
        with pytest.raises(InvalidArtifact, match="is not a checkpoint of a generator"):
            refuse_another_run(broken, recipe(), config, Path("run"))


def test_checkpoints_of_before_there_was_a_best_go_on(state: dict, tmp_path: Path) -> None:
    old = {name: state[name] for name in ("step", "model", "optimizer", "schedule", "ema")}
    written = recipe(**QUICK).model_dump(mode="json")
    for field in [name for name in written["train"] if name.startswith("validation_")]:
        del written["train"][field]
    for field in ("best_by", "compile", "num_workers"):
        del written["train"][field]
    old["recipe"] = UNetRecipe.model_validate(written).model_copy().model_dump_json()
    target = tmp_path / "checkpoints/step_00000002"
    target.mkdir(parents=True)
    torch.save(old, target / "state.pt")
    resumed = trainer(tmp_path, recipe(**QUICK))
    assert (resumed.step, resumed.task.best.value, resumed.task.best.step) == (2, None, 0)
    resumed.run(until=3)


@pytest.mark.parametrize(("until", "reason"), [(1, "is 1, but the run is at step 2 already"), (0, "already")])
def test_a_stop_before_the_present_step_is_refused(run: Path, until: int, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as error:
        trainer(run, recipe(**QUICK)).run(until)
    assert error.value.field == "until"
    with pytest.raises(InvalidInput, match="must be 1 or more"):
        last_step(0, 0, 10)
    assert [last_step(until, 2, 10) for until in (None, 2, 5, 50)] == [10, 2, 5, 10]


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        ("name: x\nlearning_rate: 1\n", "learning_rate", "not permitted"),
        ("name: x\ntrain:\n  epochs: 3\n", "train.epochs", "not permitted"),
        ("name: x\ntrain:\n  best_by: beauty\n", "train.best_by", "must be one of foot_skating_ratio.*got 'beauty'"),
        ("name: x\ntrain:\n  best_by: diversity\n", "train.best_by", "must be one of"),
        ("name: x\ntrain:\n  validation_dances: -1\n", "train.validation_dances", "greater"),
        ("name: Two Words\n", "name", "match"),
        ("name: x\n", "recipe", "denoiser.context_dim must be conditioner.context_dim"),
        ("name: x\nconditioner: {window: 100}\ndenoiser: {context_dim: 128}\n", "recipe", "window must be 196"),
        ("- 1\n", "recipe", "valid dict"),
    ],
)
def test_a_recipe_is_refused_by_the_field_that_is_wrong(tmp_path: Path, text: str, field: str, reason: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=reason) as error:
        load_recipe(path)
    assert error.value.field == field


def nan_at(values: np.ndarray) -> np.ndarray:
    out = values.copy()
    out[3] = np.nan
    return out


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        (lambda c: {"features": c.features[:, :60]}, "c1", r"features of shape \(240, 60\), not \(240, 66\)"),
        (lambda c: {"features": nan_at(c.features)}, "c1", "NaN or infinite features"),
        (lambda c: {"heading": c.heading[:100]}, "c1", r"heading of shape \(100,\), not \(240,\)"),
        (lambda c: {"rhythm": c.rhythm[:, :3]}, "c1", r"rhythm of shape"),
        (lambda c: {"music": c.music[:200]}, "c1", r"music of shape \(200, 35\), not \(240, 35\)"),
        (lambda c: {"music": nan_at(c.music)}, "c1", "NaN or infinite music"),
        (
            lambda c: {"music": c.music[:, :30]},
            "conditioner.music_dim",
            "is 35, but the music features of c1 have 30 columns",
        ),
    ],
)
def test_clips_that_the_model_cannot_take_are_refused(change: Callable[[Clip], dict], field: str, reason: str) -> None:
    data = clips()
    data[1] = replace(data[1], **change(data[1]))
    with pytest.raises(InvalidInput, match=reason) as error:
        check_clips(data, 35)
    assert error.value.field == field


def test_clips_that_are_too_short_for_a_window_are_refused() -> None:
    with pytest.raises(InvalidInput, match="longest clip has 44 frames at 30 fps, and the shortest window 45"):
        check_clips([clip.part(0, 44) for clip in clips()], 35)
    check_clips([clips()[0].part(0, 44), clips()[1]], 35)


def test_nothing_is_said_of_a_run_in_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        trainer(tmp_path, recipe(max_steps=1, **QUICK)).run()
    assert caplog.text == ""
