"""Looks after a running server from the process that started it: what died, and what the dead have left behind."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import httpx
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from serving.engines.channel import channel_options
from serving.ray.session import HEAD, NODE, RaySession
from serving.util.ownership import sweep_stale_segments

log = logging.getLogger(__name__)

PERIOD_S: Final = 0.5
ASK_S: Final = 2.0
"""Longest time of one call."""
LOST_S: Final = 5.0
"""Silence of the ingress after which it is given up, where nothing starts another one."""
LAME_S: Final = 20.0
"""Time without readiness after which the server is given up, where nothing starts another replica."""
SILENT_S: Final = 120.0
"""Silence of the ingress after which it is given up, although Ray should have started another one."""


class Watch:
    """A thread that runs while the server does.

    Args:
        session: Ray of this machine.
        url: of the server.
        triton_urls: gRPC addresses of Triton servers that may have mapped the memory of samplers of this machine.
    """

    def __init__(self, session: RaySession, url: str, triton_urls: Sequence[str]) -> None:
        self._session, self._url, self._triton_urls = session, url, triton_urls
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.problem: str | None = None
        """Why the server cannot go on; None while it can."""

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=ASK_S, trust_env=False) as client:
            alive = _Since(lambda: _answers(client, "/healthz"))
            ready = _Since(lambda: _answers(client, "/readyz"))
            lame = False
            while self.problem is None and not self._stopping.wait(PERIOD_S):
                self._free_memory()
                if not lame and self._session.has_lost(NODE):
                    lame = True
                    ready.begin()
                    log.warning("Ray's node process has died: the server goes on, but replaces nothing that dies")
                self.problem = self._problem(lame, alive, ready)

    def _problem(self, lame: bool, alive: "_Since", ready: "_Since") -> str | None:
        if self._session.has_lost(HEAD):
            return "Ray's head process has died"
        if alive.silence() > (LOST_S if lame else SILENT_S):
            return "the ingress does not answer any more"
        if lame and ready.silence() > LAME_S:
            return "Ray's node process has died, and a stage does not answer any more"
        return None

    def _free_memory(self) -> None:
        """Remove the shared memory of replicas that have died, and have Triton unmap it."""
        removed = sweep_stale_segments()
        if not removed:
            return
        for url in self._triton_urls:
            client = InferenceServerClient(url, channel_args=channel_options())
            try:
                for name in removed:
                    with suppress(InferenceServerException):
                        client.unregister_system_shared_memory(name, client_timeout=ASK_S)
            finally:
                client.close()


class _Since:
    """How long ago something held."""

    def __init__(self, holds: Callable[[], bool]) -> None:
        self._holds = holds
        self.begin()

    def begin(self) -> None:
        """Count from now."""
        self._at = time.monotonic()

    def silence(self) -> float:
        """Look, and return the seconds since it held last."""
        if self._holds():
            self.begin()
        return time.monotonic() - self._at


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
