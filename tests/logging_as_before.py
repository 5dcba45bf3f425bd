"""Puts back what `serving.util.logs.configure` changes in a process."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from serving.util import logs


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Handlers, levels and hooks are afterwards what they were."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    kept = {name: logging.getLogger(name) for name in (*logs.OWN, *logs.FOREIGN, *logs.CHATTY)}
    others = {name: (logger.handlers[:], logger.propagate, logger.level) for name, logger in kept.items()}
    handlers, level, options = root.handlers[:], root.level, logs._options
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook = hooks
        logging.captureWarnings(False)
        if logs._handler is not None:
            logs._handler.close()
        root.handlers[:], logs._options, logs._handler = handlers, options, None
        root.setLevel(level)
        for name, (had, propagate, had_level) in others.items():
            kept[name].handlers[:], kept[name].propagate = had, propagate
            kept[name].setLevel(had_level)
