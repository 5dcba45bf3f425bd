"""Starts and stops the process that runs the locust users."""

import asyncio
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from typing import Final

from choreo.errors import ChoreoError

STOPPING_S: Final = 15.0
"""How long the process may take to end after a signal."""


@dataclass(frozen=True)
class LocustPlan:
    """Arguments of the process.

    Attributes:
        spawn_rate: users that start per second.
        seconds: how long users send requests; answers are awaited beyond that.
        timeout_s: how long to wait for an answer.
        samples: file to write; must not exist.
        page_port: port of locust's web page on this machine; None: no page.
        parent: id of the process that reads the samples; the users stop when it ends.
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
    """Run the users until they are done, or until `stop` is set.

    Raises:
        ChoreoError: the process failed; its standard error says why.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "loadtest.locust_users",
        json.dumps(asdict(plan)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C must reach only this process, which stops the users
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
