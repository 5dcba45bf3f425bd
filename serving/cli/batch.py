"""`choreo batch`: a catalog on this machine or on a cluster."""

import signal
from collections.abc import Mapping
from types import FrameType
from typing import Any, Final

from rich.console import Console

from choreo.errors import InvalidInput
from serving.batch.progress import shown
from serving.batch.run import INTERRUPTED, STOPPED, BatchOptions, run_batch
from serving.cli.output import print_document
from serving.cli.own_rig import character_document
from serving.settings import Settings

INTERRUPTED_CODE: Final = 128 + signal.SIGINT
OF_WORKERS: Final = {
    "ray_address": "the server dances, and no Ray is used here",
    "triton_url": "the server has its own Triton",
    "model": "the server has the generators that it was started with; a row's model chooses among them",
    "phrases": "the server has the library that it was started with",
}
"""Options that have no meaning where a server dances."""
GO_ON: Final = "the same command goes on where it stopped"


def refuse_with_url(given: Mapping[str, Any]) -> None:
    """Refuse options that say who dances, where a server does.

    Raises:
        InvalidInput: one of them has a value.
    """
    for name, reason in OF_WORKERS.items():
        if given.get(name):
            raise InvalidInput(name, f"cannot be given with --url: {reason}")


def dance_catalog(options: BatchOptions, settings: Settings, console: Console, as_json: bool) -> int:
    """Run it, print a summary, and say how to go on.

    Returns:
        The exit code: 0 when everything that was wanted has been tried, 1 when the run could not go on, 130 after
        Ctrl-C.

    Raises:
        ChoreoError, OSError: as `run_batch` does.
    """
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with shown(console) as bar:
            summary = run_batch(options, settings, bar)
    except KeyboardInterrupt:
        console.print("stopped before anything was begun")
        return INTERRUPTED_CODE
    finally:
        signal.signal(signal.SIGTERM, previous)
    if options.character is not None:
        summary |= character_document(options.character)
    print_document(summary, as_json)
    if summary["state"] == STOPPED:
        message = f"choreo: {summary['reason']}; {GO_ON}"
        console.print(message, style="red", highlight=False, markup=False, soft_wrap=True)
        return 1
    if summary["state"] == INTERRUPTED:
        console.print(f"stopped; {GO_ON}", highlight=False, soft_wrap=True)
        return INTERRUPTED_CODE
    if summary["failed"]:
        hint = f"{summary['failed']} items failed, see errors.jsonl; --retry-failed tries them again"
        console.print(hint, highlight=False, soft_wrap=True)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
