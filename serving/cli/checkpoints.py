"""Generators as the command line names them: a checkpoint folder, or the name of a shipped one."""

from collections.abc import Sequence
from pathlib import Path

from choreo.errors import ChoreoError, InvalidInput
from choreo.generators.checkpoint import CONFIG, read_config
from choreo.shipped import shipped


def checkpoints(wanted: Sequence[str]) -> list[Path]:
    """Checkpoint folders of generators, in order.

    Raises:
        InvalidInput: a name is unknown, or two checkpoints have the same name.
    """
    found: dict[str, Path] = {}
    for text in wanted:
        folder = _folder(text)
        name = read_config(folder).spec.name
        if name in found:
            raise InvalidInput("model", f"{found[name]} and {folder} are both named {name}; give one of them")
        found[name] = folder
    return list(found.values())


def _folder(text: str) -> Path:
    for folder in (Path(text), shipped("weights", text)):
        if (folder / CONFIG).is_file():
            return folder
    names = sorted(path.parent.name for path in shipped("weights").glob(f"*/{CONFIG}") if _is_generator(path.parent))
    raise InvalidInput("model", f"must be one of {', '.join(names)}, or a checkpoint folder, got {text[:64]!r}")


def _is_generator(folder: Path) -> bool:
    try:
        read_config(folder)
    except ChoreoError:  # other checkpoints lie next to those of generators
        return False
    return True
