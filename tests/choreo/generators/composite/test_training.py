"""Training in three parts: what each learns, runs that are stopped in any, and parts that do not belong together."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_composite import small_gpt, small_tokenizer
from small_network import save_small
from tiny_composite import composite_data, composite_recipe, run_composite
from tiny_training import clips

import choreo.generators.composite.training
import choreo.training.windowed
from choreo.data.windows.windows import Windows, collate
from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.checkpoint import load_generator
from choreo.generators.composite.gpt_training import IGNORED, corrupted, with_end
from choreo.generators.composite.model import CompositeNetwork
from choreo.generators.composite.parts import load_part
from choreo.generators.composite.recipe import CompositeRecipe, SpoiltKeyPoses
from choreo.generators.composite.training import GPT, TOKENIZER, CompositeTask, composite_task
from choreo.models.motion_tokenizer import MotionTokenizer
from choreo.training.checkpoints import load_checkpoint
from choreo.training.loop import TrainingRun
from choreo.training.recipe import load_recipe

RECIPE = Path(__file__).parents[4] / "recipes" / "composite.yaml"


@pytest.fixture(autouse=True)
def few_validation_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choreo.training.windowed, "VALIDATION_WINDOWS", 4)
    monkeypatch.setattr(choreo.generators.composite.training, "VALIDATION_WINDOWS", 4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choreo.training.windowed, "VALIDATION_WINDOWS", 4)
        patch.setattr(choreo.generators.composite.training, "VALIDATION_WINDOWS", 4)
        run_composite(folder, composite_recipe())
    return folder


def task_of(folder: Path, recipe: CompositeRecipe | None = None) -> CompositeTask:
    recipe = recipe or composite_recipe()
    return composite_task(recipe, composite_data(recipe), folder)


def test_all_parts_are_trained_in_order_and_end_up_in_one_checkpoint(whole: Path) -> None:
    network = load_generator(whole / "model")
    assert isinstance(network, CompositeNetwork)
    recipe = composite_recipe()
    tokenizer = load_part(whole / TOKENIZER / "model", MotionTokenizer(recipe.tokenizer), "tokeniser")
    for name, value in tokenizer.state_dict().items():
        torch.testing.assert_close(network.tokenizer.state_dict()[name], value, rtol=0, atol=0)
    scores = json.loads((whole / TOKENIZER / "model" / "scores.json").read_text())
    assert 1 <= scores["codes_in_use"] <= 16
    assert 0 < scores["joints_m"] < 2
    assert 0 <= json.loads((whole / GPT / "model" / "scores.json").read_text())["loss/accuracy"] <= 1


def test_a_checkpoint_of_a_part_is_no_generator(whole: Path) -> None:
    with pytest.raises(InvalidArtifact, match="has no weights of its tokenizer"):
        load_generator(whole / TOKENIZER / "model")
    with pytest.raises(InvalidArtifact, match="has no weights of its tokenizer"):
        load_generator(whole / GPT / "model")


@pytest.mark.parametrize("stop", [2, 4, 6, 8, 10])
def test_a_run_that_is_stopped_anywhere_ends_like_one_that_is_not(whole: Path, tmp_path: Path, stop: int) -> None:
    recipe = composite_recipe()
    run_composite(tmp_path, recipe, until=stop)
    run_composite(tmp_path, recipe)
    expected, actual = (load_generator(folder / "last").state_dict() for folder in (whole, tmp_path))
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, atol=1e-6, rtol=1e-5)
    for part in ("", TOKENIZER, GPT):
        assert load_checkpoint(tmp_path / part / "checkpoints/step_00000004")["step"] == 4


def test_the_u_net_leaves_the_plan_as_it_is(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / TOKENIZER, tmp_path / TOKENIZER)
    shutil.copytree(whole / GPT, tmp_path / GPT)
    task = task_of(tmp_path)
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    TrainingRun(task, tmp_path).run()
    changed = {name for name, value in task.network.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in changed} == {"conditioner", "denoiser"}


def test_parts_of_two_runs_are_refused(whole: Path, tmp_path: Path) -> None:
    """A tokeniser of another run beside the language model: refused before training, and when resuming."""
    other = tmp_path / "other"
    seeded = composite_recipe()
    run_composite(
        other, seeded.model_copy(update={"tokenizer_train": seeded.tokenizer_train.model_copy(update={"seed": 9})}), 4
    )
    mixed = tmp_path / "mixed"
    shutil.copytree(whole, mixed)
    shutil.rmtree(mixed / TOKENIZER)
    shutil.copytree(other / TOKENIZER, mixed / TOKENIZER)
    with pytest.raises(InvalidArtifact, match="language model speaks tokens of the codebook"):
        task_of(mixed)
    with pytest.raises(InvalidArtifact, match="was trained on tokens of the codebook"):
        run_composite(mixed, composite_recipe())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tokenizer": small_tokenizer(codebook_size=32)}, "trained with another tokenizer"),
        ({"tokenizer": small_tokenizer(quantizer="fsq", levels=(4, 4))}, "trained with another tokenizer"),
        ({"gpt": small_gpt(width=32)}, "trained with another gpt"),
    ],
)
def test_a_run_of_other_parts_is_refused(whole: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArtifact, match=says):
        run_composite(whole, composite_recipe(**changes))


def test_missing_and_broken_parts_are_named(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArtifact, match="no usable tokeniser"):
        task_of(tmp_path)
    shutil.copytree(whole / TOKENIZER, tmp_path / TOKENIZER)
    with pytest.raises(InvalidArtifact, match=r"gpt/model/config\.json is not usable"):
        task_of(tmp_path)
    shutil.copytree(whole / GPT, tmp_path / GPT)
    (tmp_path / GPT / "model" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InvalidArtifact, match="no usable language model"):
        task_of(tmp_path)


def test_the_end_comes_right_after_the_last_token() -> None:
    tokens = torch.arange(8).reshape(2, 4)
    mask = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 1]])
    assert with_end(tokens, mask, 99).tolist() == [[0, 1, 99, IGNORED], [4, 5, 6, 7]]
    assert with_end(tokens, mask * 0, 99)[:, 0].tolist() == [99, 99]


def test_corruption_replaces_the_share_that_it_should() -> None:
    torch.manual_seed(0)
    before = torch.full((400, 101), 512)
    spoilt = corrupted(before, 512, (0.2, 0.5))
    assert (spoilt[:, 0] == 512).all()
    shares = (spoilt[:, 1:] != 512).float().mean(1)
    assert shares.mean() == pytest.approx(0.35, abs=0.02)
    assert shares.std() == pytest.approx(0.3 / 12**0.5, abs=0.03)
    assert torch.equal(corrupted(before, 512, (0.0, 0.0)), before)


def test_given_poses_are_never_all_right(whole: Path) -> None:
    """Reconstructed, noisy and right ones by their shares, at whole poses and where the motion is."""
    task = task_of(whole)
    assert isinstance(task.network, CompositeNetwork)
    run = TrainingRun(task, whole)
    objective = task._objective
    windows = Windows(clips(), composite_data(task.recipe).texts, 60, rhythm_channels=4)
    batch = collate([windows[i] for i in range(60)])
    batch = batch | {"x0": (batch["x0"] - task._mean) / task._std * batch["frame_mask"][..., None]}
    torch.manual_seed(0)
    made = objective.spoil(batch)  # type: ignore[attr-defined]
    mask = made["known_mask"]
    off = ((made["known"] - batch["x0"] * mask).abs() > 1e-5).any(dim=2).any(dim=1)
    given = mask.any(dim=2).any(dim=1)
    spoilt = SpoiltKeyPoses()
    assert float(off[given].float().mean()) == pytest.approx(spoilt.reconstructed + spoilt.noisy, abs=0.17)
    assert not mask[batch["frame_mask"] == 0].any()
    assert not made["known"][mask == 0].any()
    assert float(given.float().mean()) > spoilt.planned - 0.15
    assert run.step == 4


def test_the_shipped_u_net_learns_on(tmp_path: Path) -> None:
    """Statistics and weights are those of the checkpoint that the recipe names."""
    checkpoint = save_small(tmp_path / "unet")
    document = composite_recipe().model_dump(
        mode="json",
        exclude={"conditioner", "denoiser", "music_encoder", "text_encoder", "representation", "prediction", "schedule",
                 "num_train_timesteps"},
    )  # fmt: skip
    recipe = CompositeRecipe.model_validate(CompositeRecipe.completed(document | {"in_betweener": "unet"}, tmp_path))
    run_composite(tmp_path / "run", recipe, until=8)
    network, before = task_of(tmp_path / "run", recipe).network, load_generator(checkpoint)
    assert network.spec.std == before.spec.std
    for name, value in before.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value)


def test_an_in_betweener_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="in_betweener"):
        CompositeRecipe.completed({"in_betweener": "nowhere"}, tmp_path)
    save_small(tmp_path / "unet")
    with pytest.raises(InvalidInput, match="representation: is the in-betweener's; leave it out"):
        CompositeRecipe.completed({"in_betweener": "unet", "representation": "root-velocity-66"}, tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tokenizer": small_tokenizer(representation="root-velocity-70")}, "tokenizer.representation must be"),
        ({"tokenizer": small_tokenizer(frame_channels=70)}, "tokenizer.frame_channels must be 66"),
        ({"gpt_train": {"best_by": "fid_k"}}, "gpt_train.best_by must be a loss"),
        ({"gpt_train": {"best_by": "loss/total", "mixed_precision": "bf16"}}, "gpt_train.mixed_precision must be"),
        ({"key_poses": {"reconstructed": 0.8, "noisy": 0.8}}, "must sum to at most 1"),
        ({"key_poses": {"apart": (9, 3)}}, "apart must be"),
        ({"gpt": {"width": 20, "num_heads": 8}}, "width must be a multiple of 16"),
        ({"gpt": {"corruption": (0.5, 0.2)}}, "corruption must be two shares"),
        ({"plan": {"key_pose_interval": 5}}, "multiple of 4"),
    ],
)
def test_recipes_that_do_not_fit_together_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        composite_recipe(**changes)


def test_the_shipped_recipe_is_valid() -> None:
    recipe = load_recipe(RECIPE)
    assert isinstance(recipe, CompositeRecipe)
    assert recipe.tokenizer.codes == 512
    assert recipe.plan_window == 256
    assert np.prod(recipe.denoiser.channel_mult) == 1


def test_the_smoke_run_shortens_all_parts() -> None:
    recipe = load_recipe(RECIPE)
    assert isinstance(recipe, CompositeRecipe)
    smoke = recipe.smoke()
    parts = (smoke.tokenizer_train, smoke.gpt_train, smoke.train)
    assert {part.max_steps for part in parts} == {6}
    assert {part.batch_size for part in parts} == {4}
    assert smoke.tokenizer == recipe.tokenizer
