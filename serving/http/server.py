"""An HTTP server inside a process that has an event loop already."""

import asyncio
import errno
import socket
import time
from typing import Any, Final

import uvicorn

KEEP_ALIVE_S: Final = 75
TAKEN_S: Final = 5.0
"""A predecessor that is still ending keeps the address for no longer."""
POLL_S: Final = 0.1


class HttpServer:
    """Serves an ASGI application on an address, in the running event loop.

    Args:
        patience_s: how long `stop` waits for answers under way.
    """

    def __init__(self, app: Any, host: str, port: int, patience_s: int) -> None:
        config = uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=patience_s,
        )  # fmt: skip
        self._address = host, port
        self._server = uvicorn.Server(config)
        self._serving: asyncio.Task[None] | None = None

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
        if self._serving is not None:
            await self._serving


async def _bound(host: str, port: int) -> socket.socket:
    info = (await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    deadline = time.monotonic() + TAKEN_S
    while True:
        listening = socket.socket(info[0], socket.SOCK_STREAM)
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
