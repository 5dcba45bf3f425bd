"""A real file system of a few hundred KiB that is full at every moment of a run, in a mount namespace of its own.

    unshare --user --map-root-user --mount python tests/small_disk.py FOLDER CATALOG URL

mounts a tmpfs at the folder, which nobody else sees and which ends with the process. It has the catalog danced by the
server again and again, each time with a few pages more that are free, makes room, has it finished, and compares what is
there with a run that always had room. One JSON document a round is printed.
"""

import ctypes
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from choreo.motion.formats.npz import read_npz
from serving.batch.journal import Journal
from serving.batch.outcome import Outcome
from serving.batch.storage import LocalStore
from serving.cli.main import app

SIZE = 640 << 10
PAGE = os.sysconf("SC_PAGE_SIZE")
STEP = 3


def mount(folder: Path) -> None:
    """Mount the file system, in a namespace of this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={SIZE}".encode()):
        raise OSError(ctypes.get_errno(), "mount")


def fill(folder: Path, free: int) -> Path:
    """A file that leaves so many pages free."""
    path, left = folder / "ballast", os.statvfs(folder)
    path.write_bytes(bytes(max(left.f_bavail * left.f_bsize - free * PAGE, 0)))
    return path


def kept(out: Path) -> dict[str, bytes]:
    """Files of a run, but for those that differ from run to run."""
    found = {str(p.relative_to(out)): p for p in out.rglob("*") if p.is_file()}
    return {name: p.read_bytes() for name, p in found.items() if name not in ("run.json", "journal.jsonl")}


def torn(out: Path) -> list[str]:
    """Files that are not whole."""
    bad = [str(path) for path in out.rglob("*.part")]
    for path in out.rglob("*.npz"):
        read_npz(path)
    for path in (*out.glob("results.jsonl"), *out.glob("errors.jsonl"), *out.glob("run.json")):
        for document in [path.read_text()] if path.name == "run.json" else path.read_text().splitlines():
            json.loads(document)
    return bad


def journal_round(folder: Path, free: int) -> dict[str, Any]:
    """A journal that grows until there is no room, and is gone on with."""
    out, lines = folder / "journal", 40
    out.mkdir()
    outcomes = [Outcome(i, i % 7 > 0, b'{"row": "%s"}' % (b"x" * (300 + 11 * i))) for i in range(lines)]
    ballast, durable, said = fill(folder, free), 0, ""
    try:
        with Journal(LocalStore(out), lines) as journal:
            for outcome in outcomes:
                journal.append(outcome)
                journal.flush()
                durable += 1
    except OSError as error:
        said = str(error)
    ballast.unlink()
    with Journal(LocalStore(out), lines) as journal:
        kept = [int(i) for i in journal.tried.nonzero()[0]]
        for outcome in outcomes[len(kept) :]:
            journal.append(outcome)
        journal.flush()
        whole = list(journal.rows()) == [outcome.row + b"\n" for outcome in outcomes]
    shutil.rmtree(out)
    return {"free": free, "durable": durable, "kept": kept, "whole": whole, "said": said}


def main() -> int:
    """Run all rounds."""
    folder, catalog, url = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    mount(folder)

    def run(out: Path) -> Result:
        words = ["batch", catalog, "--out", str(out), "--url", url, "--format", "npz", "--format", "bvh", "--json"]
        return CliRunner().invoke(app, words)

    for free in range(8):
        print(json.dumps({"journal": journal_round(folder, free)}), flush=True)
    whole = folder / "whole"
    before = os.statvfs(folder).f_bavail
    assert run(whole).exit_code == 0
    wanted, needed = kept(whole), before - os.statvfs(folder).f_bavail
    shutil.rmtree(whole)
    for free in range(0, needed + STEP, STEP):
        out, ballast = folder / "out", fill(folder, free)
        full = run(out)
        left = kept(out) if out.is_dir() else {}
        document: dict[str, Any] = {
            "free": free,
            "code": full.exit_code,
            "said": full.stderr
            if full.exception is None or isinstance(full.exception, SystemExit)
            else str(full.exception),
            "torn": torn(out) if out.is_dir() else [],
            "kept": sum(name.startswith("files/") for name in left),
            "wrong": [name for name, data in left.items() if name.startswith("files/") and data != wanted[name]],
        }
        ballast.unlink()
        again = run(out)
        document |= {"again": again.exit_code, "same": kept(out) == wanted}
        document["tried"] = json.loads(again.stdout)["tried"] if not again.exit_code else again.output
        print(json.dumps(document), flush=True)
        shutil.rmtree(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
