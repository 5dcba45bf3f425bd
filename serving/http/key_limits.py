"""What the limits of one API key leave: requests at a time, requests a minute, seconds of motion a minute."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from choreo.errors import Overloaded
from choreo.motion.skeleton import FPS, WINDOW
from serving.http.key_entries import ApiKey

WINDOW_S: Final = WINDOW / FPS
"""What must be left for a motion whose length is that of its song, which nobody knows before it is decoded."""


class Bucket:
    """A token bucket that holds a minute's worth; safe from many threads.

    Args:
        per_minute: what comes in.
        least: what it holds at least, however little comes in.
    """

    def __init__(self, per_minute: float, least: float = 0.0) -> None:
        self._rate, self._most = per_minute / 60, max(per_minute, least)
        self._left, self._counted_at = self._most, time.monotonic()
        self._lock = threading.Lock()

    def take(self, amount: float) -> float:
        """Take as much, if it is there, and return 0; else seconds until it is.

        Of what is more than the bucket holds a full one is enough; the rest is owed, and delays who comes later.
        """
        with self._lock:
            self._fill()
            missing = min(amount, self._most) - self._left
            if missing > 0:
                return missing / self._rate
            self._left -= amount
            return 0.0

    def correct(self, amount: float) -> None:
        """Take as much in any case; what is negative is given back."""
        with self._lock:
            self._fill()
            self._left = min(self._left - amount, self._most)

    def _fill(self) -> None:
        now = time.monotonic()
        self._left = min(self._left + (now - self._counted_at) * self._rate, self._most)
        self._counted_at = now


@dataclass
class Caller:
    """A key, and what is being made of it.

    Attributes:
        inside: requests under way.
    """

    key: ApiKey
    inside: int = 0
    requests: Bucket | None = field(init=False)
    seconds: Bucket | None = field(init=False)

    def __post_init__(self) -> None:
        requests, seconds = self.key.requests_per_minute, self.key.motion_seconds_per_minute
        self.requests = None if requests is None else Bucket(requests, least=1)
        self.seconds = None if seconds is None else Bucket(seconds)

    @contextmanager
    def request(self) -> Iterator[None]:
        """One request, within the limits.

        Raises:
            Overloaded: it is one too many.
        """
        key = self.key
        if key.max_requests is not None and self.inside >= key.max_requests:
            message = f"the key {key.name!r} has {key.max_requests} requests under way, as many as it may"
            raise Overloaded(1, message, "max_requests")
        if self.requests is not None and (wait := self.requests.take(1)):
            message = f"the key {key.name!r} may ask {key.requests_per_minute:g} times a minute"
            raise Overloaded(max(round(wait), 1), message, "requests_per_minute")
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    @contextmanager
    def motion(self, seconds: float | None) -> Iterator[None]:
        """Motion of so many seconds that is being made; what fails does not count.

        Args:
            seconds: None: that is known once it is made, and told to `made`.

        Raises:
            Overloaded: this minute's are used up.
        """
        if self.seconds is None:
            yield
            return
        held = WINDOW_S if seconds is None else seconds
        if wait := self.seconds.take(held):
            limit = f"{self.key.motion_seconds_per_minute:g} seconds of motion a minute"
            message = f"the key {self.key.name!r} may make {limit}"
            raise Overloaded(max(math.ceil(wait), 1), message, "motion_seconds_per_minute")
        try:
            yield
        except BaseException:
            self.seconds.correct(-held)
            raise
        if seconds is None:
            self.seconds.correct(-held)

    def made(self, seconds: float) -> None:
        """Count motion whose length was not known before."""
        if self.seconds is not None:
            self.seconds.correct(seconds)
