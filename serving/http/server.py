"""An HTTP server inside a process that has an event loop already."""

import asyncio
import errno
import math
import resource
import socket
import time
from typing import Any, Final

import uvicorn

from serving.http.connections import ConnectionLimits, bounded_protocol
from serving.settings import Settings

TAKEN_S: Final = 5.0
"""A predecessor that is still ending keeps the address for no longer."""
POLL_S: Final = 0.1
ENDING_S: Final = 5.0
"""Time in which a handler that was cancelled must have ended."""
SPARE_FILES: Final = 256
"""File descriptors that connections leave to everything else."""


class HttpServer:
    """Serves an ASGI application on an address, in the running event loop.

    Args:
        app: what is served.
        host, port: where to listen.
        settings: limits of connections.
        patience_s: how long `stop` waits for answers under way.
        limits: others than those of the settings.
    """

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        settings: Settings,
        patience_s: int,
        limits: ConnectionLimits | None = None,
    ) -> None:
        usual = ConnectionLimits(
            connections=_affordable(settings.max_connections),
            head_s=settings.header_timeout_s,
            send_s=settings.send_timeout_s,
        )
        limits = limits or usual
        config = uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, server_header=False, ws="none",
            http=bounded_protocol(limits), h11_max_incomplete_event_size=settings.max_header_bytes,
            timeout_keep_alive=math.ceil(settings.keep_alive_s), timeout_graceful_shutdown=patience_s,
        )  # fmt: skip
        self._address = host, port
        self._server = uvicorn.Server(config)
        self._serving: asyncio.Task[None] | None = None

    @property
    def connections(self) -> set[Any]:
        """The connections that are open."""
        return self._server.server_state.connections

    async def start(self) -> None:
        """Listen; connections are taken from then on.

        Raises:
            OSError: the address is not of this machine, or stays taken.
        """
        listening = await _bound(*self._address)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))

    async def stop(self) -> None:
        """Take no more requests, answer those that are here, and close."""
        self._server.should_exit = True
        if self._serving is None:
            return
        await self._serving
        # Handlers whose patience has run out are cancelled by now, and have yet to let go of what they hold.
        if ending := set(self._server.server_state.tasks):
            await asyncio.wait(ending, timeout=ENDING_S)


def _affordable(connections: int) -> int:
    """So many connections, or as many as this process may have files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections if files == resource.RLIM_INFINITY else min(connections, max(files - SPARE_FILES, files // 2))


async def _bound(host: str, port: int) -> socket.socket:
    info = (await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    deadline = time.monotonic() + TAKEN_S
    while True:
        listening = socket.socket(*info[:3])  # without the protocol asyncio would leave Nagle's algorithm on
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(info[4])
            listening.listen()  # of two that are bound only one may
            return listening
        except OSError as error:
            listening.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
        await asyncio.sleep(POLL_S)
