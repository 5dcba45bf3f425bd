"""A real HTTP server in a thread of the test, for clients that block."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serving.http.server import HttpServer
from serving.ray.app import free_port
from serving.settings import Settings

HOST = "127.0.0.1"


@contextmanager
def served(app: Any, port: int = 0) -> Iterator[str]:
    """Serve an ASGI application on a free port of this machine, or on a given one; yields its address.

    The jobs of an ingress are gone on with, and put away at the end.
    """
    jobs = getattr(getattr(app, "state", None), "jobs", None)
    port = port or free_port(HOST, 0)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = HttpServer(app, HOST, port, Settings(), 1)

    def run(work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(30)

    async def start() -> None:
        await server.start()
        if jobs is not None:
            jobs.start()

    try:
        run(start())
        yield f"http://{HOST}:{port}"
    finally:
        run(server.stop())
        if jobs is not None:
            run(jobs.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
