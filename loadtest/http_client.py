"""Sends the requests of a scenario from an event loop."""

import asyncio
from types import TracebackType
from typing import Self

import httpx

from choreo.errors import BackendUnavailable
from loadtest.answers import MAX_BODY, judged, too_large, unreached
from loadtest.samples import Answer
from loadtest.scenarios import LoadRequest

PROBE_S = 10.0


class HttpClient:
    """Context manager: connections to one server, one per request in flight. Proxies are ignored.

    Args:
        url: address of the server.
        timeout_s: how long to wait for an answer, seconds.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx.AsyncClient(base_url=url, limits=limits, timeout=None, trust_env=False)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def probe(self) -> None:
        """Check that a server answers, with any status.

        Raises:
            BackendUnavailable: no server answers.
        """
        try:
            async with asyncio.timeout(PROBE_S):
                await self._client.get("/healthz")
        except (httpx.HTTPError, TimeoutError) as error:
            raise BackendUnavailable(f"no server answers at {self._url}; start one with `choreo serve`") from error

    async def send(self, wanted: LoadRequest) -> Answer:
        """Send a request, stream the answer up to `MAX_BODY` bytes, and check it."""
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream(
                    wanted.method, wanted.path, headers=wanted.headers, content=wanted.body or None
                ) as response,
            ):
                body = bytearray()
                async for block in response.aiter_bytes():
                    body += block
                    if len(body) > MAX_BODY:
                        return too_large(response.status_code)
        except TimeoutError:
            return unreached("no answer in time")
        except httpx.HTTPError as error:
            return unreached(type(error).__name__)
        return judged(wanted, response.status_code, response.headers, bytes(body))
