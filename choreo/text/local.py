"""Loading of Hugging Face text models that must already lie on this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from choreo.errors import MissingDependency

Loaded = TypeVar("Loaded")


def load_local(load: Callable[[], Loaded], source: str | Path, what: str, repository: str) -> Loaded:
    """Call `load`, which must look at local files only.

    Raises:
        MissingDependency: the files are not there or incomplete; the message says how to get them.
    """
    try:
        return load()
    except (OSError, ValueError, ImportError) as error:
        raise MissingDependency(
            f"the weights of {what} are not on this machine (looked for {str(source)!r}); get them with "
            f"`hf download {repository}` or pass a directory that holds them"
        ) from error
