"""Checkpoint folders: `model.safetensors` (weights), `config.json` (configuration of the family) and a model card."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from choreo.errors import InvalidArtifact
from choreo.files import atomic_write
from choreo.generators.config import GeneratorConfig
from choreo.generators.registry import GeneratorUnavailable, generator, generator_class

if TYPE_CHECKING:  # a server reads configurations and needs no torch for them
    from torch import Tensor

    from choreo.generators.network import GeneratorNetwork

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
_UNUSABLE = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError)
"""What validation and networks raise, of this program or of an installed family, at sizes that make no sense."""


def save_generator(folder: Path, config: GeneratorConfig, state: "dict[str, Tensor]") -> None:
    """Write a checkpoint folder; each file appears whole or not at all.

    Raises:
        OSError: the disk is full, or the folder may not be written; the files in it are as they were.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    # Not safetensors' save_file, whose own error would hide that the disk is full.
    atomic_write(folder / WEIGHTS, save({k: v.detach().contiguous().cpu() for k, v in state.items()}))
    atomic_write(folder / CONFIG, (json.dumps(config.model_dump(mode="json"), indent=1) + "\n").encode())


def read_config(folder: Path) -> GeneratorConfig:
    """The configuration of a checkpoint folder, of the type that its family has.

    Raises:
        InvalidArtifact: it is missing or broken, or its spec does not fit its networks; the generator is named.
        GeneratorUnavailable: its family is not installed.
    """
    try:
        document = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidArtifact(f"{folder} is not a usable checkpoint: {error}") from error
    spec = document.get("spec") if isinstance(document, dict) else None
    if not isinstance(spec, dict):
        raise InvalidArtifact(f"{folder} is not a usable checkpoint: {CONFIG} has no spec")
    try:
        # Version 0.1 had one family, and named it in another place.
        family = generator_class(str(spec.get("family", document.get("architecture", ""))))
        config = family.config_type().model_validate(document)
        generator(config.spec)
    except GeneratorUnavailable as error:
        raise GeneratorUnavailable(f"{folder} ({_name(spec)}): {error}") from error
    except _UNUSABLE as error:
        raise InvalidArtifact(f"{folder} ({_name(spec)}) is not a usable checkpoint: {error}") from error
    return config


def load_generator(folder: Path) -> "GeneratorNetwork":
    """Read a checkpoint folder into a network in evaluation mode, float32.

    Raises:
        InvalidArtifact: a file is missing or broken, or the weights do not fit the configuration.
        GeneratorUnavailable: its family is not installed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = read_config(folder)
    name = config.spec.name
    try:
        state = {k: v.float() for k, v in load_file(folder / WEIGHTS).items()}
        network = generator_class(config.spec.family).network(config)
        network.load_state_dict(state)
    except SafetensorError as error:
        raise InvalidArtifact(f"{folder / WEIGHTS} of {name} is broken: {error}") from error
    except (OSError, *_UNUSABLE) as error:
        raise InvalidArtifact(f"{folder} ({name}) is not a usable checkpoint: {error}") from error
    return network.eval()


def _name(spec: dict[str, Any]) -> str:
    return str(spec.get("name", "without a name"))[:64]
