"""A process that finishes one motion, to write its file or to measure it, and can be killed at any time.

The call comes on standard input, and the answer goes to standard output, both pickled by this program. The process ends
with its parent, and its children with it.
"""

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from choreo.errors import ChoreoError
from serving.stages.finisher import deliver_request, score_request

CALLS: Final[dict[str, Callable[..., object]]] = {call.__name__: call for call in (deliver_request, score_request)}
WATCH_S: Final = 1.0
"""How often the parent is looked for."""


def main() -> None:
    """Answer one of `CALLS` with its result, or with the `ChoreoError` that it ended with."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no part of the answer
    question = sys.stdin.buffer.read()
    if not question:  # nobody needed this process
        return
    try:
        name, *arguments = pickle.loads(question)
        answer: object = CALLS[name](*arguments)
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
