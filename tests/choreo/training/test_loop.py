"""The training loop with a task that is none of the shipped ones."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from tiny_training import newest_state
from torch import Tensor, nn
from torch.utils.data import Dataset

from choreo.data.windows.windows import Window
from choreo.errors import InvalidArtifact, NonFiniteOutput
from choreo.training.best import Best
from choreo.training.ema import Ema
from choreo.training.loop import Task, TrainingRun, num_windows
from choreo.training.recipe import TrainConfig


class FakeWindows(Dataset[Window]):
    """Numbers x of which 3 x - 1 is to be learned."""

    def __init__(self, options: TrainConfig) -> None:
        self.length = num_windows(options)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Window:
        x = torch.rand(4, generator=torch.Generator().manual_seed(index)).numpy()
        return {"x": x, "y": 3 * x - 1}


class FakeTask(Task):
    """A line, learned by a body that is averaged and a scale that is not; its inputs are noisy."""

    name, shown = "line", ("error",)

    def __init__(self, scores: list[float] | None = None, patience: int | None = None, **options: object) -> None:
        base = {"max_steps": 6, "batch_size": 4, "save_every": 2, "validate_every": 1, "tracker": "none"}
        self.options = TrainConfig.model_validate(base | {"learning_rate": 0.1, "warmup_steps": 1} | options)
        torch.manual_seed(self.options.seed)
        self.averaged = nn.Linear(1, 1)
        self.network = nn.Sequential(self.averaged, nn.Linear(1, 1, bias=False))
        self.windows, self.best = FakeWindows(self.options), Best("error", lambda value: value)
        self.scores, self.patience = scores, patience

    def begin(self, accelerator: Accelerator, ema: Ema) -> None:
        assert set(ema.shadow) == {"weight", "bias"}

    def seed_of(self, index: int, process: int) -> int:
        return 100 * index + process

    def loss(self, batch: dict[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
        x = batch["x"][..., None] + 0.01 * torch.randn_like(batch["x"][..., None])
        return {"total": (model(x)[..., 0] - batch["y"]).square().mean()}

    def validate(self, weights: dict[str, Tensor]) -> dict[str, float] | None:
        return None if self.scores is None else {"error": self.scores.pop(0)}

    def save(self, folder: Path, weights: dict[str, Tensor]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(weights, folder / "line.pt")

    def description(self) -> dict[str, str]:
        return {"what": self.name}

    def check(self, state: Mapping[str, Any], path: Path) -> None:
        if state["what"] != self.name:
            raise InvalidArtifact(f"{path} is no line")


@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_resumed_run_is_bit_for_bit_that_which_was_not_stopped(tmp_path: Path, accumulation: int) -> None:
    options = {"gradient_accumulation": accumulation}
    TrainingRun(FakeTask(**options), tmp_path / "whole").run()
    for until in (1, 3, None):
        TrainingRun(FakeTask(**options), tmp_path / "parts").run(until)
    whole, parts = newest_state(tmp_path / "whole"), newest_state(tmp_path / "parts")
    assert (whole["step"], whole["what"]) == (parts["step"], parts["what"]) == (6, "line")
    for a, b in ((whole["model"], parts["model"]), (whole["ema"]["shadow"], parts["ema"]["shadow"])):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert whole["schedule"] == parts["schedule"]


def test_the_best_weights_are_kept_and_patience_ends(tmp_path: Path) -> None:
    task = FakeTask(scores=[5.0, 2.0, 3.0, 4.0, 1.0], patience=2)
    run = TrainingRun(task, tmp_path)
    assert run.run() == tmp_path / "model"
    assert (run.step, task.best.step, task.best.value) == (4, 2, 2.0)
    best, last = (torch.load(tmp_path / name / "line.pt") for name in ("model", "last"))
    assert not torch.equal(best["weight"], last["weight"])
    assert torch.equal(last["weight"], run.ema.shadow["weight"])


def test_without_validation_the_newest_weights_are_kept(tmp_path: Path) -> None:
    TrainingRun(FakeTask(), tmp_path).run()
    model, last = (torch.load(tmp_path / name / "line.pt") for name in ("model", "last"))
    assert torch.equal(model["weight"], last["weight"])


def test_the_checkpoint_of_another_task_is_refused(tmp_path: Path) -> None:
    TrainingRun(FakeTask(), tmp_path).run(until=2)
    other = FakeTask()
    other.name = "parabola"
    with pytest.raises(InvalidArtifact, match="step_00000002 is no line"):
        TrainingRun(other, tmp_path)


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_its_checkpoint(tmp_path: Path) -> None:
    TrainingRun(FakeTask(), tmp_path).run(until=2)
    task = FakeTask()
    run = TrainingRun(task, tmp_path)
    with torch.no_grad():
        task.averaged.bias.fill_(torch.inf)
    with pytest.raises(NonFiniteOutput, match="at step 2; lower the learning rate"):
        run.run()
    assert newest_state(tmp_path)["step"] == 2


RANK = """
import json, sys
from pathlib import Path
from test_loop import FakeTask, TrainingRun, num_windows

task, asked = FakeTask(), []
read = task.windows.__class__.__getitem__
task.windows.__class__.__getitem__ = lambda self, index: asked.append(index) or read(self, index)
run = TrainingRun(task, Path(sys.argv[1]))
run.run()
print(json.dumps({"step": run.step, "asked": asked, "windows": num_windows(task.options)}))
"""


@pytest.mark.slow
def test_two_processes_look_at_twice_as_many_windows(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2]), *sys.path])
    common = {
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths,
    }  # fmt: skip
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(tmp_path)],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [rank.communicate(timeout=240) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert [rank.returncode for rank in ranks] == [0, 0], said
    one, other = (json.loads(out.splitlines()[-1]) for out, _ in said)
    assert (one["step"], other["step"]) == (6, 6)
    assert one["windows"] == other["windows"] == 2 * 6 * 4
    assert len(set(one["asked"]) | set(other["asked"])) == 48
    assert not set(one["asked"]) & set(other["asked"])
