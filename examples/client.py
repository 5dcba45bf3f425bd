"""Dances to every song of a folder, made by a running server as one job.

    choreo serve
    python examples/client.py songs out/dances --text "slow waltz"

Interrupted, it can be run again: the job's key is made of what is asked for, so it is the same job.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from choreo.client import Client
from choreo.errors import ChoreoError

SUFFIXES = (".wav", ".mp3", ".flac", ".ogg", ".m4a")


def main(words: Sequence[str] | None = None) -> int:
    """Parse options, submit, wait, and fetch; 1 if a dance failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("songs", type=Path, help="folder of songs")
    parser.add_argument("out", type=Path, help="folder for the dances")
    parser.add_argument("--text", default="a dancer performs a cha-cha", help="what to dance, in words")
    parser.add_argument("--format", default="bvh")
    parser.add_argument("--url", help="of the server; omitted: the variable CHOREO_URL, or this machine")
    given = parser.parse_args(words)
    songs = sorted(path for path in given.songs.iterdir() if path.suffix.lower() in SUFFIXES)
    body = {"text_prompt": given.text, "format": given.format, "preset": "fast", "seed": 1}
    rows = [{"custom_id": song.name, "body": body | {"audio": song}} for song in songs]
    key = hashlib.sha256(repr(rows).encode()).hexdigest()
    with Client(given.url) as client:
        job = client.submit(rows, idempotency_key=key, timeout_s=3600)
        job.wait(lambda status: print(f"{status.state}, {status.progress:.0%}", file=sys.stderr))
        job.download(given.out)
        failed = [result for result in job.results() if result.error is not None]
    for result in failed:
        print(f"{result.custom_id}: {result.error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ChoreoError as error:
        sys.exit(f"{error}")
