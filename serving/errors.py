"""Errors that only a server has."""

from choreo.errors import BackendUnavailable, ChoreoError


class Overloaded(ChoreoError, RuntimeError):
    """The server has as much work as it takes; nothing was started."""

    def __init__(self, retry_after_s: int = 1) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return "the server has as much work as it takes"


class ModelUnavailable(BackendUnavailable):
    """A generator that a request needs is not served any more; the message names it."""
