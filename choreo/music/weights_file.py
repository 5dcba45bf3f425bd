"""Weights of the networks that hear beats and tags, from files that are shipped."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, MissingDependency


def load_weights(path: Path, owner: str) -> dict[str, NDArray[np.floating]]:
    """Arrays of a safetensors file by name; `owner` is what they are the weights of, for messages.

    Raises:
        MissingDependency: there is no such file.
        InvalidArtifact: it is broken.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        weights: dict[str, NDArray[np.floating]] = load_file(path)
    except FileNotFoundError as error:
        raise MissingDependency(f"the weights of the {owner} are missing: {path}") from error
    except (OSError, SafetensorError) as error:
        raise InvalidArtifact(f"{path} is no safetensors file: {error}") from error
    return weights
