"""Text models from Hugging Face whose weights must already be on this machine."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from choreo.errors import MissingDependency

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Weights:
    """Where the weights of one model are looked for.

    Attributes:
        model: its name, for messages.
        repository: on the Hugging Face hub; also the name in the local cache that is used by default.
        variable: environment variable that names a folder, or another name in the local cache.
    """

    model: str
    repository: str
    variable: str

    def source(self) -> str:
        """Folder or name that the weights are loaded from."""
        return os.environ.get(self.variable) or self.repository

    def load(self, source: str | Path, load: Callable[[], Loaded]) -> Loaded:
        """Call `load`, which must look for the files of `source` on this machine only.

        Raises:
            MissingDependency: they are missing or incomplete; the message says how to get them and what to set.
        """
        try:
            from transformers.utils import logging

            logging.disable_progress_bar()
            return load()
        except (OSError, ValueError, ImportError) as error:
            raise MissingDependency(
                f"the weights of {self.model} are not on this machine (looked for {str(source)!r}); get them with "
                f"`hf download {self.repository}`, or set {self.variable} to the folder that holds them"
            ) from error
