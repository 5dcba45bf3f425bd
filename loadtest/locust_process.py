"""The process that locust's users live in, as the load test starts and stops it."""

import asyncio
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from typing import Final

from choreo.errors import ChoreoError

STOPPING_S: Final = 15.0
"""What the process gets to end after a signal."""


@dataclass(frozen=True)
class LocustPlan:
    """What the process is told.

    Attributes:
        spawn_rate: users that begin per second.
        seconds: after that no user sends any more; answers are still waited for.
        timeout_s: after that an answer is no longer waited for.
        samples: file to write; must not exist.
        page_port: of locust's page on this machine; None: no page.
        parent: process that reads the samples; the users stop when it ends.
    """

    url: str
    scenario: str
    seed: int
    users: int
    spawn_rate: float
    seconds: float
    timeout_s: float
    samples: str
    page_port: int | None
    parent: int = field(default_factory=os.getpid)


async def run_users(plan: LocustPlan, stop: asyncio.Event) -> None:
    """Let the users ask; when `stop` is set they are stopped at once.

    Raises:
        ChoreoError: the process failed; it has said why on standard error.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "loadtest.locust_users",
        json.dumps(asdict(plan)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C on a terminal is for this process, which passes it on
    )
    ended, stopped = asyncio.ensure_future(process.wait()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            process.terminate()
            await asyncio.wait([ended], timeout=STOPPING_S)
    finally:
        stopped.cancel()
        if process.returncode is None:
            process.kill()
        await ended
    if process.returncode and not stop.is_set():
        raise ChoreoError(f"the process of the users ended with {process.returncode}")
