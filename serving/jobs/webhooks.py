"""Sends webhooks: signed, and tried until they are delivered, also after a restart."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from choreo.errors import ChoreoError
from serving.jobs.delivery import (
    DELIVERED,
    GIVEN_UP,
    ID_HEADER,
    PENDING,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    DeliveryFailed,
    Outcome,
    Post,
    backoff_s,
    signature,
)
from serving.jobs.records import Webhook
from serving.settings import Settings
from serving.util.threads import Threads

if TYPE_CHECKING:
    from serving.jobs.outbox import Outbox

log = logging.getLogger(__name__)

MAX_ERROR_CHARS: Final = 200
AT_A_TIME: Final = 8
LOOK_S: Final = 1.0
SPARE_S: Final = 5.0
"""How much longer than a delivery may take nobody else tries it."""


class WebhookSender:
    """Delivers what is due, a few at a time, so that receivers that never answer hold nothing up.

    Args:
        outbox: what is due.
        post: makes one delivery.
        settings: secret, times and attempts.
        threads: for what blocks.
        count: told of the outcome of every attempt.
    """

    def __init__(
        self,
        outbox: "Outbox",
        post: Post,
        settings: Settings,
        threads: Threads,
        count: Callable[[Outcome], None],
    ) -> None:
        self._outbox, self._post, self._settings, self._threads = outbox, post, settings, threads
        self._count = count
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver, in the running event loop."""
        self._loop = asyncio.create_task(self._deliver_all())

    async def stop(self) -> None:
        """Stop at once; what was not delivered is due again later."""
        tasks = [*self._tasks, *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver_all(self) -> None:
        lease_s = self._settings.webhook_timeout_s + SPARE_S
        while True:
            try:
                if room := AT_A_TIME - len(self._tasks):
                    for webhook in await self._threads.run(self._outbox.due, room, lease_s):
                        task = asyncio.create_task(self._deliver(webhook))
                        self._tasks.add(task)
                        task.add_done_callback(self._done)
            except ChoreoError as error:
                log.warning("webhooks wait: %s", error)
            except Exception:
                log.exception("webhooks wait")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            self._wake.clear()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._wake.set()

    async def _deliver(self, webhook: Webhook) -> None:
        body, timestamp = webhook.body.encode(), str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            ID_HEADER: webhook.id,
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: signature(self._settings.webhook_secret.get_secret_value(), timestamp, body),
        }
        error: str | None = None
        try:
            async with asyncio.timeout(self._settings.webhook_timeout_s):
                await self._post(webhook.url, headers, body)
        except TimeoutError:
            error = "there was no answer in time"
        except DeliveryFailed as failed:
            error = str(failed)[:MAX_ERROR_CHARS]
        except Exception as failed:
            log.exception("the webhook of %s could not be sent", webhook.job_id)
            error = type(failed).__name__
        tries, now = webhook.attempts + 1, time.time()
        if error is None:
            state, next_at, outcome = DELIVERED, now, Outcome.DELIVERED
        else:
            again = tries < self._settings.webhook_attempts
            state, outcome = (PENDING, Outcome.RETRIED) if again else (GIVEN_UP, Outcome.GIVEN_UP)
            next_at = now + backoff_s(tries, self._settings.webhook_backoff_s)
            log.warning("the webhook of %s was not delivered (%d): %s", webhook.job_id, tries, error)
        self._count(outcome)
        with contextlib.suppress(ChoreoError):  # it is sent once more, which receivers see by its id
            await self._threads.run(self._outbox.ended, webhook, state, next_at, error)
