"""The models of an evaluation as a user names them: MODEL, MODEL@PRESET or MODEL@SAMPLER:STEPS."""

from dataclasses import dataclass, replace
from pathlib import Path

from choreo.diffusion.presets import preset
from choreo.diffusion.samplers import sampler
from choreo.errors import InvalidInput
from choreo.shipped import checkpoint_folder
from serving.evaluation.dancers import DanceOptions


@dataclass(frozen=True)
class NamedModel:
    """A checkpoint and how it is sampled.

    Attributes:
        folder: of the checkpoint.
        options: of its dances.
        way: what followed the @, which tells apart subjects of one checkpoint; empty where nothing did.
    """

    folder: Path
    options: DanceOptions
    way: str = ""

    def subject(self, name: str) -> str:
        """Name of the subject, of the generator's name."""
        return f"{name}@{self.way}" if self.way else name


def named_models(text: str, options: DanceOptions, max_steps: int) -> list[NamedModel]:
    """The models of a list by commas.

    Args:
        text: for example `unet-small, unet-small@ddpm:50, runs/mine@fast`.
        options: where nothing else is said. A preset after the @ replaces theirs and their steps; with a sampler
            and steps, guidance acts at all noise, whatever the preset.
        max_steps: that a request may have.

    Raises:
        InvalidInput: the field is `model`, `preset`, `sampler` or `num_steps`, whichever is unusable.
    """
    return [_named(part.strip(), options, max_steps) for part in text.split(",")]


def _named(text: str, options: DanceOptions, max_steps: int) -> NamedModel:
    name, at, way = text.rpartition("@")
    if not at or Path(text).is_dir():  # a folder may have an @ in its path
        return NamedModel(checkpoint_folder(text), options)
    folder = checkpoint_folder(name)
    if ":" not in way:
        preset(way)
        return NamedModel(folder, replace(options, preset=way, num_steps=None), way)
    method, _, steps = way.partition(":")
    sampler(method)
    if not (steps.isascii() and steps.isdigit() and len(steps) < 6 and 1 <= int(steps) <= max_steps):
        raise InvalidInput("num_steps", f"must be between 1 and {max_steps}, got {steps[:32]!r}")
    changes = {**options.changes, "sampler": method, "guidance_low": 0.0, "guidance_high": 1.0}
    return NamedModel(folder, replace(options, num_steps=int(steps), changes=changes), way)
