"""Consistency distillation: exact targets where the flow is known, a run that resumes, and the shipped recipe."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_training import FakeText, clips, dances, newest_state, recipe

from choreo.data.windows.windows import Windows, collate
from choreo.diffusion.ddim import Ddim
from choreo.diffusion.lcm import Lcm
from choreo.diffusion.presets import Preset
from choreo.diffusion.schedule import NoiseSchedule
from choreo.errors import InvalidInput
from choreo.generators.checkpoint import load_generator, save_generator
from choreo.generators.config import Distilled
from choreo.generators.unet.model import UNetModel
from choreo.generators.unet.recipe import UNetRecipe
from choreo.generators.unet.training import generator_config, student_config
from choreo.training.distillation import Distillation, DistillationConfig, DistillationTask, TeacherPath
from choreo.training.ema import Ema
from choreo.training.held_out_dances import CONDITIONS
from choreo.training.loop import TrainingRun, num_windows
from choreo.training.losses import LossWeights, MotionLoss
from choreo.training.noising import Noising
from choreo.training.normalized import Batch, normalized
from choreo.training.recipe import load_recipe

ROOT = Path(__file__).parents[3]
RECIPE = ROOT / "recipes" / "lcm.yaml"
NULL = ("music", "text", "has_music", "has_text", "prior", "rhythm")


def generator(seed: int = 0) -> UNetModel:
    """Random in all its weights, many of which begin at zero; its Gaussian model is white."""
    torch.manual_seed(seed)
    made = UNetModel(generator_config(recipe(), clips())).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def objective(teacher: UNetModel, student: UNetModel, **config: object) -> Distillation:
    options = DistillationConfig.model_validate({"teacher": Path(), "steps": 8} | config)
    mean, std = (torch.tensor(v, dtype=torch.float32) for v in (teacher.spec.mean, teacher.spec.std))
    loss = MotionLoss(LossWeights(bone=0, contact=0), mean, std, options.huber)
    noising = Noising(student)
    return Distillation(TeacherPath(options, teacher, noising), student, Ema(student, 0.95), noising, loss)


def batch(count: int = 6) -> Batch:
    windows = Windows(clips(), FakeText(), count, 3, CONDITIONS, rhythm_channels=4)
    spec = generator_config(recipe(), clips()).spec
    mean, std = (torch.tensor(v, dtype=torch.float32) for v in (spec.mean, spec.std))
    return normalized(collate([windows[i] for i in range(count)]), mean, std)


class FakeLinear(torch.nn.Module):
    """The exact denoiser of data N(0, deviation^2), or, as a student that is done, where their paths end."""

    def __init__(self, deviation: float, of: UNetModel, ends: bool = False) -> None:
        super().__init__()
        self.deviation, self.noising, self.ends = deviation, Noising(of), ends

    def forward(self, inputs: Batch) -> torch.Tensor:
        a = self.noising.alphas_cumprod(inputs["t"][:, 0].long())
        spread = a * self.deviation**2 + 1 - a
        gain = self.deviation / spread.sqrt() if self.ends else a.sqrt() * self.deviation**2 / spread
        return gain * inputs["x"]


def test_where_the_flow_is_known_the_target_is_where_the_path_ends() -> None:
    """All steps of DDIM that a path has left, each known in closed form, and then what the average says."""
    student = generator()
    exact = objective(generator(), student, steps=100, guidance_scale=1.0)
    exact._path._teacher = FakeLinear(0.4, student)  # type: ignore[assignment]
    exact._target = FakeLinear(0.4, student, ends=True)  # type: ignore[assignment]
    exact._average.shadow = {}
    for times in exact._path.times[[1, 40, 60, 98]]:
        x = torch.randn(6, 196, 66)
        target = exact.target(batch(), x, times.expand(6, 3))
        ends = FakeLinear(0.4, student, ends=True)({"x": x, "t": times[:1].expand(6)[:, None]})
        torch.testing.assert_close(target, ends, rtol=2e-3, atol=1e-5)


def test_a_student_that_is_done_has_no_loss_and_another_has_some() -> None:
    student = generator()
    exact = objective(generator(), student, steps=100, guidance_scale=1.0)
    exact._path._teacher = FakeLinear(0.4, student)  # type: ignore[assignment]
    exact._target = FakeLinear(0.4, student, ends=True)  # type: ignore[assignment]
    exact._average.shadow = {}
    done, not_done = FakeLinear(0.4, student, ends=True), FakeLinear(0.4, student)
    assert float(exact(batch(), done)["total"]) < 1e-3 < 1e-2 < float(exact(batch(), not_done)["total"])


def test_on_the_last_step_the_target_is_the_guided_prediction_of_the_teacher() -> None:
    teacher = generator(1)
    found = objective(teacher, generator(2), guidance_scale=2.5)
    some, x = batch(), torch.randn(6, 196, 66)
    times = found._path.times[-1].expand(6, 3)
    t = times[:, 0]
    assert int(times[0, 2]) == -1
    inputs = some | {"x": x, "t": t[:, None].float()}
    null = {
        name: values * (name not in ("music", "text", "has_music", "has_text", "prior", "rhythm"))
        for name, values in inputs.items()
    }
    with torch.no_grad():
        conditional, unconditional = teacher(inputs), teacher(null)
    assert (conditional - unconditional).abs().max() > 1e-3
    expected = unconditional + 2.5 * (conditional - unconditional)
    torch.testing.assert_close(found.target(some, x, times), expected, rtol=1e-3, atol=1e-4)


def test_elsewhere_it_is_the_averages_prediction_from_where_the_teacher_goes() -> None:
    teacher, student = generator(1), generator(2)
    found = objective(teacher, student)
    some, x = batch(), torch.randn(6, 196, 66)
    times = found._path.times[3].expand(6, 3)
    t, middle, t_prev = times.numpy().T
    schedule = NoiseSchedule.make(teacher.spec.parameters["schedule"])
    there = Ddim().step(schedule, x.numpy(), found._path.guided(some, x, times[:, 0]).numpy(), t, middle)
    between = found._path.guided(some, torch.from_numpy(there), times[:, 1]).numpy()
    x_prev = torch.from_numpy(Ddim().step(schedule, x.numpy(), between, t, t_prev))
    with torch.no_grad():
        expected = student(some | {"x": x_prev, "t": times[:, 2:].float()})
    torch.testing.assert_close(found.target(some, x, times), expected, rtol=1e-3, atol=1e-4)


def test_the_path_visits_what_sampling_in_few_steps_does() -> None:
    path = objective(generator(1), generator(2), steps=9)._path
    pairs, schedule = path.times[:, [0, 2]], NoiseSchedule.make("cosine")
    assert pairs[1:, 0].tolist() == pairs[:-1, 1].tolist()
    assert ((path.times[:-1, 0] > path.times[:-1, 1]) & (path.times[:-1, 1] > path.times[:-1, 2])).all()
    for steps in (1, 2, 4):
        assert set(Lcm().timesteps(schedule, steps)[:, 0]) <= set(pairs[:, 0].tolist())


def test_rows_at_little_noise_are_not_guided() -> None:
    teacher = generator(1)
    found = objective(teacher, generator(2), guidance_low=0.5)
    some, x, t = batch(), torch.randn(6, 196, 66), torch.tensor([900, 100, 499, 500, 20, 0])
    guided = found._path.guided(some, x, t)
    with torch.no_grad():
        plain = teacher(some | {"x": x, "t": t[:, None].float()})
    differs = (guided - plain).abs().amax(dim=(1, 2)) > 1e-3
    assert differs.tolist() == [True, False, False, True, False, False]


def test_a_generator_gives_back_what_it_sees_without_noise() -> None:
    """The boundary that consistency functions have, by the Gaussian model: nothing to do for the network."""
    student = generator()
    some, t = batch(), torch.zeros(6, dtype=torch.long)
    x_t = Noising(student).noised(some["x0"], t)
    deviation = (1 - Noising(student).alphas_cumprod(t)[0, 0, 0]).sqrt()
    with torch.no_grad():
        off = (student(some | {"x": x_t, "t": t[:, None].float()}) - some["x0"]) * some["frame_mask"][..., None]
    assert off.square().mean().sqrt() < 2 * deviation


def test_pseudo_huber_is_square_near_zero_and_straight_far_away() -> None:
    loss = MotionLoss(LossWeights(root=1.0), torch.zeros(66), torch.ones(66), huber=0.5)
    x, mask = torch.zeros(1, 50, 66), torch.ones(1, 50)
    near, far = (float(loss(torch.full_like(x, d), x, mask)["reconstruction"]) for d in (0.01, 100.0))
    assert near == pytest.approx(0.01**2 / (2 * 0.5), rel=1e-3)
    assert far == pytest.approx(100 - 0.5, rel=1e-3)


def taught(folder: Path, **train: object) -> tuple[UNetRecipe, UNetModel]:
    teacher = generator(1)
    save_generator(folder, teacher.config, teacher.state_dict())
    small = recipe(validation_sampler="lcm", validation_guidance_scale=1.0, **train)
    config = DistillationConfig(teacher=folder, steps=4)
    return small.model_copy(update={"name": "student", "distillation": config}), load_generator(folder)


def student_run(folder: Path, r: UNetRecipe, teacher: UNetModel) -> TrainingRun:
    windows = Windows(clips(), FakeText(), num_windows(r.train), r.train.seed, rhythm_channels=4)
    validation, scored = Windows(clips(), FakeText(), 4, 9, rhythm_channels=4), dances(r)
    assert r.distillation is not None
    config = student_config(r, teacher)
    task = DistillationTask(r, r.distillation, teacher, config, windows, validation, scored)
    return TrainingRun(task, folder)


def test_a_student_begins_as_its_teacher_and_records_what_it_has_of_it(tmp_path: Path) -> None:
    r, teacher = taught(tmp_path / "teacher")
    run = student_run(tmp_path / "run", r, teacher)
    for name, values in teacher.state_dict().items():
        torch.testing.assert_close(run.task.network.state_dict()[name], values)
    made = load_generator(run.run())
    parameters = teacher.spec.parameters | {"distilled": True}
    assert made.spec == teacher.spec.model_copy(update={"name": "student", "parameters": parameters})
    assert made.config.distilled == Distilled(teacher="test", guidance_scale=2.5)
    moved = [k for k, v in made.state_dict().items() if not torch.equal(v, teacher.state_dict()[k])]
    assert moved
    assert not any("gaussian" in name for name in moved)
    for name, values in load_generator(tmp_path / "teacher").state_dict().items():
        torch.testing.assert_close(teacher.state_dict()[name], values)


def test_a_resumed_distillation_is_that_which_was_not_stopped(tmp_path: Path) -> None:
    r, teacher = taught(tmp_path / "teacher", ema_decay=0.95)
    student_run(tmp_path / "whole", r, teacher).run()
    student_run(tmp_path / "parts", r, teacher).run(until=3)
    second = student_run(tmp_path / "parts", r, teacher)
    assert second.step == 3
    second.run()
    a, b = (newest_state(tmp_path / f) for f in ("whole", "parts"))
    for part in (lambda state: state["model"], lambda state: state["ema"]["shadow"]):
        for name, values in part(a).items():
            torch.testing.assert_close(part(b)[name], values, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("scale", "low", "evaluations"), [(1.0, 0.0, 4), (2.5, 0.0, 8), (2.5, 0.5, 7)])
def test_dances_count_their_evaluations(scale: float, low: float, evaluations: int) -> None:
    way = Preset("lcm", 4, guidance_low=low)
    held_out = dataclasses.replace(dances(recipe()), guidance_scale=scale, way=way)
    seen: list[int] = []

    class FakeDenoiser(torch.nn.Module):
        def forward(self, x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return 0.5 * x

    student = generator()
    student.denoiser = FakeDenoiser()  # type: ignore[assignment]
    held_out.dance(student)
    assert sum(seen) == evaluations * held_out.count


def test_the_network_of_the_recipe_is_the_teachers(tmp_path: Path) -> None:
    read = load_recipe(RECIPE)
    assert isinstance(read, UNetRecipe)
    assert read.denoiser == load_generator(ROOT / "weights" / "unet-small").config.denoiser
    path, text = tmp_path / "r.yaml", RECIPE.read_text()
    path.write_text(text)
    with pytest.raises(InvalidInput, match="not a usable checkpoint") as error:
        load_recipe(path)
    assert error.value.field == "distillation.teacher"
    path.write_text(text.replace("../weights", str(ROOT / "weights")) + "denoiser:\n  context_dim: 128\n")
    with pytest.raises(InvalidInput, match="leave it out") as error:
        load_recipe(path)
    assert error.value.field == "denoiser"


def test_the_shipped_recipe_by_the_command_line(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "serving.cli.main",
        "train",
        str(RECIPE),
        "--smoke",
        "--json",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    made = load_generator(Path(json.loads(done.stdout)["checkpoint"]))
    assert made.config.distilled == Distilled(teacher="unet-small", guidance_scale=2.5, guidance_low=0.3)
    assert newest_state(tmp_path)["step"] == load_recipe(RECIPE).smoke().train.max_steps
