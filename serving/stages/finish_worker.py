"""A process that finishes one motion and writes its file, and can be killed at any time: request on standard input,
answer on standard output, both pickled by this program. It ends with its parent, and its children with it."""

import os
import pickle
import signal
import sys
import threading
import time
from typing import Final

from choreo.errors import ChoreoError
from serving.stages.finisher import deliver_request

WATCH_S: Final = 1.0
"""How often the parent is looked for."""


def main() -> None:
    """Answer one request with a `MotionFile`, or with the `ChoreoError` that it ended with."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no part of the answer
    question = sys.stdin.buffer.read()
    if not question:  # nobody needed this process
        return
    try:
        answer: object = deliver_request(*pickle.loads(question))
    except ChoreoError as error:
        answer = error
    with answers:
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)


def _end_with(parent: int) -> None:
    """Kill this process's group, which is its own, when the parent has gone."""
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
