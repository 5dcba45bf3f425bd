"""`choreo generate --url`: a running server makes the dance, and the files are written here."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from choreo.client import Client, Dance
from choreo.errors import NotFound
from choreo.files import atomic_write
from choreo.motion.formats.formats import Format
from choreo.motion.formats.view import View
from choreo.rigs.animate import Character
from serving.cli.own_rig import with_own_rig, write_own_rig
from serving.cli.report import file_names, results_in, write_files


def generate_files_from(
    url: str,
    fields: dict[str, Any],
    song: Path | None,
    features: Path | None,
    motions: dict[str, Path],
    formats: list[str],
    timeout_s: float | None,
    out: Path,
    console: Console,
    character: Character | None = None,
) -> dict[str, Any]:
    """Have a server generate once and write the files and `report.json`; returns the report without versions.

    Args:
        url: address of the server.
        fields: of the request, as `choreo.client.GenerateFields`, with `text_prompt` and `seed`.
        motions: files of start, end and clip, those that there are.
        timeout_s: seconds until the dance is of no use; None: the client's default.
        character: the user's own, whose file is written with the dance in it.

    Raises:
        ChoreoError: nothing was written.
    """
    names = file_names([Format.named(name) for name in dict.fromkeys(formats)])
    given = {name: value for name, value in fields.items() if value is not None}
    text, seed = given.pop("text_prompt", None), given.pop("seed", None)
    view = View.named(given["camera"])
    with results_in(out, list(names.values())) as part, Client(url) as client:
        began = time.perf_counter()
        with console.status("sending") as status:

            def progress(sent: int, total: int) -> None:
                status.update("dancing" if sent == total else f"sending {100 * sent // total} %")

            dance = client.generate(
                text, song=song, features=features, seed=seed, timeout_s=timeout_s, progress=progress,
                start=motions.get("start"), end=motions.get("end"), clip=motions.get("clip"), **given,
            )  # fmt: skip
        asked, began = time.perf_counter() - began, time.perf_counter()
        with console.status("writing"):
            motion = replace(dance.motion, meta=dance.meta | {"notes": list(dance.notes)})
            sound = song.read_bytes() if song and any(fmt.needs_audio for fmt in names.values()) else None
            write_files(motion, part, names, sound, text or "", view)
            own = write_own_rig(character, motion, part)
        seconds = {"write": round(time.perf_counter() - began, 4), "request": round(asked, 4)}
        document = _report(dance, [out / name for name in names], seconds)
        document = with_own_rig(document, character, [out / name for name in own])
        more = {"rows": dance.meta.get("rows"), "versions": _versions(client), "triton": None, "meta": motion.meta}
        atomic_write(part / "report.json", json.dumps(document | more, indent=1).encode())
    return document


def _report(dance: Dance, files: list[Path], seconds: dict[str, float]) -> dict[str, Any]:
    """The members that `choreo generate --json` has, from what the server says of the dance."""
    meta = dance.meta
    return {
        "files": [str(file) for file in files],
        "num_frames": dance.motion.num_frames,
        "fps": dance.motion.fps,
        "seed": dance.seed,
        "model": meta.get("model"),
        "notes": list(dance.notes),
        "prior": meta.get("prior"),
        "phrases": meta.get("phrases"),
        "seconds": {stage: round(s, 4) for stage, s in dance.server_seconds.items()} | seconds,
    }


def _versions(client: Client) -> dict[str, str] | None:
    """The server's versions; None from one that does not tell them."""
    try:
        return client.version().versions
    except NotFound:
        return None
