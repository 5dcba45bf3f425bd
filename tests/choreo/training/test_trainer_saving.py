"""What a run loses to a full disk, to being killed and to a broken checkpoint: one interval at most."""

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tiny_training import newest_state, recipe, trainer

from choreo.errors import InvalidArtifact, NotSaved
from choreo.generators.checkpoint import load_generator
from choreo.training.checkpoints import load_checkpoint, save_checkpoint

ROOT = Path(__file__).parents[3]


class FakeFullDisk:
    """Stands in for a function that writes: half of it comes out, then the disk is full, for the calls named."""

    def __init__(self, real: Callable[..., object], full_at: set[int]) -> None:
        self.real, self.full_at, self.calls = real, full_at, 0

    def __call__(self, *args: object, **kwargs: object) -> object:
        self.calls += 1
        if self.calls in self.full_at:
            if hasattr(args[-1], "write"):
                args[-1].write(b"PK half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.real(*args, **kwargs)


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob(".*")]


def steps(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "checkpoints").iterdir())


def same_weights(a: Path, b: Path) -> bool:
    """But for rounding, which Adam makes large where there is no gradient, as for a bias before a normalisation; a step
    with other noise moves weights by ten times as much."""
    one, two = load_generator(a).state_dict(), load_generator(b).state_dict()
    return all(torch.allclose(one[name], two[name], atol=1e-4, rtol=1e-4) for name in one)


def test_a_disk_that_is_full_for_a_while_costs_one_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "save", FakeFullDisk(torch.save, {2}))
    run = trainer(tmp_path, recipe(save_every=2, keep_checkpoints=3, validate_every=100, validation_dances=0))
    with caplog.at_level(logging.WARNING):
        run.run(until=5)
    assert steps(tmp_path) == ["step_00000002", "step_00000005"]
    assert leftovers(tmp_path) == []
    assert "the checkpoint of step 4 could not be written: No space left on device" in caplog.text
    assert newest_state(tmp_path)["step"] == 5


def test_weights_on_a_full_disk_are_those_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = trainer(tmp_path, recipe(save_every=1, validate_every=100), held_out=False)
    run.run(until=1)
    before = load_generator(tmp_path / "model").state_dict()
    monkeypatch.setattr(safetensors.torch, "save", FakeFullDisk(safetensors.torch.save, {1}))
    with caplog.at_level(logging.WARNING):
        trainer(tmp_path, recipe(save_every=1, validate_every=100), held_out=False).run(until=3)
    assert "the averaged weights could not be written" in caplog.text
    assert leftovers(tmp_path) == []
    after = load_generator(tmp_path / "model").state_dict()
    assert not all(torch.equal(before[name], after[name]) for name in before)


def test_the_best_weights_survive_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors.torch, "save", FakeFullDisk(safetensors.torch.save, {1}))
    run = trainer(tmp_path, recipe(save_every=100, validate_every=1, validation_dances=0))
    run.run(until=4)
    assert run.task.best.step > 1
    assert len(run.task.best.history) == 4
    load_generator(tmp_path / "model")


@pytest.mark.parametrize("what", ["checkpoint", "weights"])
def test_a_last_save_that_fails_is_a_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    r = recipe(save_every=2, validate_every=100)
    trainer(tmp_path, r, held_out=False).run(until=2)
    with monkeypatch.context() as patched:
        if what == "checkpoint":
            patched.setattr(torch, "save", FakeFullDisk(torch.save, {1}))
        else:
            patched.setattr(safetensors.torch, "save", FakeFullDisk(safetensors.torch.save, {1}))
        with pytest.raises(NotSaved, match=r"could not be written: No space left on device\. Make room"):
            trainer(tmp_path, r, held_out=False).run(until=3)
    assert steps(tmp_path) == ["step_00000002"]
    assert leftovers(tmp_path) == []
    again = trainer(tmp_path, r, held_out=False)
    assert again.step == 2
    again.run(until=3)
    assert steps(tmp_path) == ["step_00000002", "step_00000003"]


def test_torch_hides_why_a_write_failed_and_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_save(state: object, file: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598")

    monkeypatch.setattr(torch, "save", fake_save)
    with pytest.raises(OSError, match="unexpected pos"):
        save_checkpoint(tmp_path / "run/checkpoints", 1, {}, 2)
    assert list((tmp_path / "run/checkpoints").iterdir()) == []


def test_only_unfinished_files_next_to_the_checkpoints_are_removed(tmp_path: Path) -> None:
    of_others = tmp_path / "model/.build.part"
    of_others.mkdir(parents=True)
    unfinished = tmp_path / "model/.0123456789abcdef.part"
    unfinished.write_bytes(b"half")
    save_checkpoint(tmp_path / "checkpoints", 1, {}, 2)
    assert of_others.is_dir()
    assert not unfinished.exists()


def test_a_killed_run_resumes_from_its_last_checkpoint_to_the_same_end(tmp_path: Path) -> None:
    trainer(tmp_path / "whole", recipe()).run()
    folder = tmp_path / "killed"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-m", "tiny_training", str(folder), "5"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=tmp_path, text=True
    ) as child:
        assert child.stdout is not None
        assert "stalled" in iter(child.stdout.readline, "").__next__()
        child.kill()
    assert child.returncode == -9
    assert steps(folder) == ["step_00000003"]
    (folder / "checkpoints/.step_00000005.partial").mkdir()
    (folder / "model/.0123456789abcdef.part").write_bytes(b"half")
    resumed = trainer(folder, recipe())
    assert resumed.step == 3
    assert resumed.task.best.step == 3
    resumed.run()
    assert leftovers(folder) == []
    for name in ("model", "last"):
        assert same_weights(folder / name, tmp_path / "whole" / name)
    whole, killed = (load_checkpoint(tmp_path / f / "checkpoints/step_00000006") for f in ("whole", "killed"))
    assert killed["best_step"] == whole["best_step"]
    assert killed["best"] == pytest.approx(whole["best"], rel=1e-4)
    assert [v["step"] for v in killed["validations"]] == [3, 6]


def test_a_truncated_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer(tmp_path, recipe(save_every=2, validation_dances=0)).run(until=4)
    broken = tmp_path / "checkpoints/step_00000004/state.pt"
    broken.write_bytes(broken.read_bytes()[:2000])
    with caplog.at_level(logging.WARNING):
        run = trainer(tmp_path, recipe(save_every=1, keep_checkpoints=1, validation_dances=0))
    assert run.step == 2
    assert "step_00000004 is not a usable training checkpoint" in caplog.text
    assert "going back to the one before" in caplog.text
    run.run(until=3)
    assert steps(tmp_path) == ["step_00000003"]
    for state in (tmp_path / "checkpoints").rglob("state.pt"):
        state.write_bytes(b"")
    with pytest.raises(InvalidArtifact, match=r"no checkpoint in .* can be read"):
        trainer(tmp_path, recipe(validation_dances=0))


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    folder = trainer(tmp_path, recipe(validation_dances=0)).run()
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()}
    assert trainer(tmp_path, recipe(validation_dances=0)).run() == folder
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()} == written
