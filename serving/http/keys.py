"""API keys: who may ask, how much at a time and how often. A file that names them may change while the server runs."""

import hashlib
import hmac
import logging
import time
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from choreo.errors import InvalidInput
from serving.http.key_entries import given_keys, read_keys
from serving.http.key_limits import Caller
from serving.http.problems import HttpProblem
from serving.http.studio import is_open
from serving.settings import Settings

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""Time between looks whether the file has changed."""
OPEN: Final = frozenset({"/healthz", "/readyz"})
"""Paths that orchestrators ask without a key."""
METRICS: Final = "/metrics"
CALLER: Final = "caller"
"""Where the state of a request has whose key it came with."""


class KeyRing:
    """The keys that the settings give. A file is read again when it changes; a broken new one changes nothing.

    Raises:
        InvalidInput: as `given_keys`.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.api_keys_file
        self._version = self._seen(self._path)
        self._callers = [Caller(key) for key in given_keys(settings)]
        self._looked_at = time.monotonic()

    @property
    def on(self) -> bool:
        """Whether a key is needed."""
        return bool(self._callers)

    def named(self, name: str | None) -> Caller | None:
        """Who has the key of a name, if there still is one."""
        return next((caller for caller in self._callers if caller.key.name == name), None)

    def caller(self, given: str) -> Caller | None:
        """Whose key it is. All digests are compared, and each in constant time."""
        self._look()
        digest, found = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest(), None
        for caller in self._callers:
            if hmac.compare_digest(caller.key.digest, digest):
                found = caller
        return found

    def _look(self) -> None:
        if self._path is None or time.monotonic() - self._looked_at < LOOK_S:
            return
        self._looked_at = time.monotonic()
        version = self._seen(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            keys = read_keys(self._path)
        except InvalidInput as error:
            log.error("the API keys stay as they were: %s", error)
            return
        before = {caller.key.name: caller for caller in self._callers}
        fresh = [Caller(key) for key in keys]
        for caller in fresh:
            if (known := before.get(caller.key.name)) is not None and known.key == caller.key:
                fresh[fresh.index(caller)] = known
        self._callers = fresh

    @staticmethod
    def _seen(path: Path | None) -> tuple[int, int, int] | None:
        if path is None:
            return None
        try:
            about = path.stat()
        except OSError:
            return None
        return about.st_mtime_ns, about.st_size, about.st_ino


class KeyCheck:
    """ASGI middleware: requests without a valid key are answered 401, those beyond a key's limits 429.

    Args:
        app: what is inside.
        ring: the keys.
        metrics_are_open: whether `/metrics` needs no key.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing, metrics_are_open: bool) -> None:
        self._app, self._ring = app, ring
        self._open = OPEN | {METRICS} if metrics_are_open else OPEN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in self._open or is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        caller = self._ring.caller(_bearer(scope))
        if caller is None:
            message = "needs a key: send Authorization: Bearer KEY"
            headers = {"WWW-Authenticate": 'Bearer realm="choreo"'}
            raise HttpProblem(HTTPStatus.UNAUTHORIZED, "unauthorized", message, "Authorization", headers)
        scope.setdefault("state", {})[CALLER] = caller
        with caller.request():
            await self._app(scope, receive, send)


def caller_of(request: Request) -> Caller | None:
    """Whose key a request came with; None where keys are off."""
    caller: Caller | None = getattr(request.state, CALLER, None)
    return caller


def key_name(request: Request) -> str | None:
    """Name of the key that a request came with; None where keys are off."""
    caller = caller_of(request)
    return None if caller is None else caller.key.name


def motion_of(request: Request, seconds: float | None) -> AbstractContextManager[None]:
    """Motion that a request asks for, within the limit of its key; see `Caller.motion`."""
    caller = caller_of(request)
    return nullcontext() if caller is None else caller.motion(seconds)


def _bearer(scope: Scope) -> str:
    """The key of the only Authorization header; empty if there is none."""
    given = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
    scheme, _, key = (given[0] if len(given) == 1 else b"").decode("latin-1").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
