"""Where the files are that ship with the program: weights and recipes.

A checkout has them at its top; a wheel has them inside this package, where setup.py puts them when the wheel is built.
"""

import json
from pathlib import Path
from typing import Final

from choreo.errors import InvalidInput

_PACKAGED: Final = Path(__file__).resolve().parent / "_shipped"

CHECKOUT: Final[Path | None] = None if _PACKAGED.is_dir() else _PACKAGED.parents[1]
"""Top folder of the checkout that this is imported from; None where it was installed from a wheel."""


def shipped(*parts: str) -> Path:
    """Path of a shipped file or folder, for example `shipped("weights", "unet-small")`. It need not exist."""
    return (CHECKOUT or _PACKAGED).joinpath(*parts)


def recipe_file(given: Path) -> Path:
    """The recipe that a user means: a file, or the name of a shipped recipe, such as `demo`.

    Raises:
        InvalidInput: it is neither.
    """
    if given.is_file():
        return given
    recipes = {path.stem: path for path in shipped("recipes").glob("*.yaml")}
    if str(given) not in recipes:
        names = ", ".join(sorted(recipes))
        raise InvalidInput("recipe", f"{given} is neither a file nor the name of a shipped recipe ({names})")
    return recipes[str(given)]


def checkpoint_folder(given: str) -> Path:
    """The checkpoint that a user means: a folder, or the name of shipped weights, such as `unet-small`.

    Raises:
        InvalidInput: it is neither, or it holds weights that are no generator's.
    """
    folders = {path.parent.name: path.parent for path in shipped("weights").glob("*/config.json") if _has_spec(path)}
    if given in folders:
        return folders[given]
    names = ", ".join(sorted(folders))
    folder = shipped("weights", given) if "/" not in given and not Path(given).is_dir() else Path(given)
    if not given or not (folder / "config.json").is_file():
        raise InvalidInput("model", f"{given} is neither a checkpoint folder nor the name of shipped weights ({names})")
    if not _has_spec(folder / "config.json"):
        raise InvalidInput("model", f"{given} holds weights that are no generator's; generators are {names}")
    return folder


def _has_spec(config: Path) -> bool:
    """Whether a checkpoint is a generator's: only those say what they exchange. A broken file is left to its reader."""
    try:
        document = json.loads(config.read_text())
    except (OSError, ValueError, RecursionError):
        return True
    return isinstance(document, dict) and isinstance(document.get("spec"), dict)
