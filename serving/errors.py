"""Errors that only a server has."""

from choreo.errors import BackendUnavailable, ChoreoError
from choreo.errors import Overloaded as Overloaded  # clients meet it as well


class ShuttingDown(BackendUnavailable):
    """The server answers what it has accepted and takes no more; another one may."""

    def __str__(self) -> str:
        return "the server is being stopped; retry later"


class ModelUnavailable(BackendUnavailable):
    """A generator that a request needs is not served any more; the message names it."""


class NotReady(BackendUnavailable):
    """What a probe is answered while a stage does not answer."""


class StoreUnavailable(BackendUnavailable):
    """The database or the spool folder of jobs cannot be used now; the message says why, for the log."""


class Interrupted(ChoreoError):
    """What a request ends in whose servers ended while they worked on it, again and again."""

    def __str__(self) -> str:
        return "the server ended each time that it worked on this request"
