"""A run of a generator small enough for every test: three clips, a narrow network, a few steps."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch.utils.data import Dataset

from choreo.data.clip import Caption, Clip
from choreo.data.windows.windows import Window, Windows
from choreo.diffusion.presets import Preset
from choreo.generators.unet.config import UNetConfig
from choreo.generators.unet.recipe import UNetRecipe
from choreo.generators.unet.training import generator_config
from choreo.models.conditioner_config import ConditionerConfig
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.representation import encode
from choreo.music.beats import beat_phase_channels
from choreo.training.checkpoints import newest_usable
from choreo.training.generator import GeneratorTask
from choreo.training.held_out_dances import CONDITIONS, HeldOutDances
from choreo.training.loop import CHECKPOINTS, TrainingRun, num_windows
from choreo.training.options import TrainConfig


class FakeText(dict[str, np.ndarray]):
    """Embeds any caption."""

    def __init__(self) -> None:
        super().__init__({"": np.zeros(8, np.float32)})

    def __missing__(self, key: str) -> np.ndarray:
        return np.full(8, float(len(key) % 5), np.float32)


class FakeStalledWindows(Dataset[Window]):
    """Windows that never come from a certain one on; says so on stdout."""

    def __init__(self, windows: Windows, first: int) -> None:
        self.windows, self.first = windows, first

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Window:
        if index >= self.first:
            print("stalled", flush=True)
            sys.stdin.read()
        return self.windows[index]


def clips() -> list[Clip]:
    out = []
    for i in range(3):
        frames = 240
        swing = np.sin(np.arange(frames)[:, None, None] / (7 + i)) * np.random.default_rng(i).normal(0, 0.2, (22, 3))
        local = Rotation.from_rotvec(swing.reshape(-1, 3)).as_matrix().reshape(frames, 22, 3, 3)
        root = np.stack([np.arange(frames) * 0.01, np.full(frames, 0.95), np.zeros(frames)], axis=1)
        features = encode(forward_kinematics(root, local))[0].astype(np.float32)
        music = np.random.default_rng(i).normal(size=(frames, 35)).astype(np.float32) if i else None
        beats = np.arange(0, 8, 0.5) if i else np.zeros(0)
        rhythm = beat_phase_channels(beats, np.ones(frames) if i else np.zeros(0), frames)
        caption = (Caption("turns left", 0, frames),)
        heading = np.zeros(frames, np.float32)
        out.append(Clip(f"c{i}", f"c{i}", "f", features, heading, music, rhythm, 0.0, "test", caption))
    return out


def recipe(**train: object) -> UNetRecipe:
    options = {
        "max_steps": 6, "batch_size": 2, "warmup_steps": 2, "save_every": 3, "log_every": 1, "validate_every": 3,
        "tracker": "none", "validation_dances": 3, "validation_num_steps": 2,
    }  # fmt: skip
    return UNetRecipe(
        name="test",
        conditioner=ConditionerConfig(context_dim=8, text_dim=8, num_heads=2),
        denoiser=UNetConfig(
            model_channels=8, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(2,), num_heads=2,
            context_dim=8,
        ),
        train=TrainConfig.model_validate(options | train),
    )  # fmt: skip


def dances(r: UNetRecipe, data: list[Clip] | None = None) -> HeldOutDances:
    data, options = data or clips(), r.train
    windows = Windows(data, FakeText(), 6, 10, CONDITIONS, rhythm_channels=4)
    return HeldOutDances.of(
        generator_config(r, data).spec,
        windows,
        len(windows),
        options.validation_dances,
        Preset(options.validation_sampler, options.validation_num_steps),
        options.validation_guidance_scale,
    )


def trainer(folder: Path, r: UNetRecipe, held_out: bool = True, data: list[Clip] | None = None) -> TrainingRun:
    """A run that validates, unless nothing is `held_out`; it makes dances where the recipe wants any."""
    data = data or clips()
    windows = Windows(data, FakeText(), num_windows(r.train), r.train.seed, rhythm_channels=4)
    validation = Windows(data, FakeText(), 4, 9, rhythm_channels=4) if held_out else None
    scored = dances(r, data) if held_out and r.train.validation_dances else None
    return TrainingRun(GeneratorTask(r, generator_config(r, data), windows, validation, scored), folder)


def newest_state(folder: Path) -> dict[str, Any]:
    """State of a run's newest checkpoint."""
    found = newest_usable(folder / CHECKPOINTS)
    assert found is not None
    return found[1]


def stall(folder: Path, step: int) -> None:
    """Train until the windows of `step` are asked for, and wait there for the end."""
    torch.set_num_threads(1)
    run = trainer(folder, recipe())
    run.task.windows = FakeStalledWindows(run.task.windows, step * run.task.options.batch_size)  # type: ignore[arg-type]
    run.run()


if __name__ == "__main__":
    stall(Path(sys.argv[1]), int(sys.argv[2]))
