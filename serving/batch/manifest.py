"""run.json: what a run is of. A folder with another run in it is refused by the name of the option that differs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.files import file_sha256
from serving.batch.server_facts import ServerFacts
from serving.batch.storage import Store
from serving.batch.survey import Survey
from serving.settings import Settings
from serving.versions import versions

RUN: Final = "run.json"
RESULTS: Final = "results.jsonl"
FORMAT: Final = "choreo-batch"
VERSION: Final = 1
CHECKPOINT: Final = ("config.json", "model.safetensors")
"""Files of a checkpoint; their names stand here as well because the module that has them loads torch."""
CHECKS: Final = ("max_seconds", "max_steps")
"""Settings that decide whether there is a motion, wherever it is made: items are checked here."""
LIMITS: Final = (*CHECKS, "max_song_seconds", "cross_encoder")
"""Settings that a motion which is made here, or whether there is one, depends on."""
HERE, SERVER = None, "a server"
"""Who makes the motions, under the name of the option --url."""


def configuration(
    settings: Settings,
    found: Survey,
    formats: Sequence[str],
    preset: str | None,
    checkpoints: Sequence[Path],
    rig: str | None = None,
) -> dict[str, Any]:
    """Everything that the results of a run depend on, by the name of the option that it comes from.

    Args:
        rig: hash of the user's own character, if there is one.
    """
    return {
        "url": HERE,
        **_asked(found, formats, preset, rig),
        "triton_url": "Triton" if settings.triton_url else "in this process",
        "model": settings.default_model if settings.triton_url else [_checkpoint(path) for path in checkpoints],
        "phrases": _library(settings.phrases),
        **_values(settings, LIMITS),
    }


def remote_configuration(
    settings: Settings,
    found: Survey,
    formats: Sequence[str],
    preset: str | None,
    server: ServerFacts,
    rig: str | None = None,
) -> dict[str, Any]:
    """The same where a server makes the motions, as far as it tells. Which address it has does not matter."""
    asked = _asked(found, formats, preset, rig)
    return {"url": SERVER, **asked, **server.configuration(), **_values(settings, CHECKS)}


def claim(store: Store, wanted: dict[str, Any]) -> dict[str, Any]:
    """Begin a run in a folder, or go on with the one that is there; its document.

    Raises:
        InvalidInput: another run is there; the field is the option that differs.
        InvalidArtifact: what is there is not readable.
        OSError: it could not be written.
    """
    data = store.read(RUN)
    if data is None:
        if store.read(RESULTS) is not None:
            raise InvalidInput("out", f"holds {RESULTS} of something else; give another folder")
        document = {"format": FORMAT, "version": VERSION, "configuration": wanted, "versions": versions(), "runs": []}
        write(store, document)
        return document
    try:
        there = json.loads(data)
        known = there["configuration"]
        right = there["format"] == FORMAT and there["version"] == VERSION and isinstance(there["runs"], list)
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidArtifact(f"{RUN} of the results is not readable; give another folder for --out") from error
    if not right:
        raise InvalidArtifact(f"{RUN} of the results is of another program or version; give another folder for --out")
    for name, value in wanted.items():
        if known.get(name) != value:
            shown = "" if isinstance(value, dict | list) else f" ({_text(known.get(name))} there, {_text(value)} now)"
            message = f"the folder of --out holds a run with another {name}{shown}; give another folder"
            raise InvalidInput(name, message)
    return dict(there)


def write(store: Store, document: dict[str, Any]) -> None:
    """Replace run.json."""
    store.write(RUN, json.dumps(document, indent=1).encode() + b"\n")


def _asked(found: Survey, formats: Sequence[str], preset: str | None, rig: str | None) -> dict[str, Any]:
    catalog = {"sha256": found.digest, "items": found.items}
    return {"catalog": catalog, "format": list(formats) or None, "preset": preset, "rig": rig}


def _values(settings: Settings, names: Sequence[str]) -> dict[str, Any]:
    return {f"CHOREO_{name.upper()}": getattr(settings, name) for name in names}


def _checkpoint(folder: Path) -> dict[str, str]:
    """What a generator is by its files, of which a worker finds out whether they can be used.

    Raises:
        InvalidArtifact: there is no checkpoint.
    """
    try:
        return {"folder": folder.name, **{name: file_sha256(folder / name) for name in CHECKPOINT}}
    except OSError as error:
        raise InvalidArtifact(f"{folder} is not a usable checkpoint: {error}") from error


def _library(folder: Path) -> str | None:
    from retrieval.library.manifest import Manifest

    try:
        return Manifest.read(folder).content
    except (InvalidArtifact, OSError):
        return None


def _text(value: object) -> str:
    return "none" if value is None else str(value)[:64]
