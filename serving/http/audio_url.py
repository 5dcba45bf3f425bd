"""Fetching a song from an address that a caller names, without becoming the caller's hands in our own network."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

import httpx

from choreo.errors import InvalidInput
from serving.settings import Settings

FIELD = "audio_url"
MAX_CHARS = 2048
PORT = 443
FETCH_SECONDS = 30.0
"""Longest time for a whole song, from the name to the last byte."""

Resolver = Callable[[str], Awaitable[Sequence[str]]]
"""Host name to addresses."""

_ORDINARY_V6 = ipaddress.IPv6Network("2000::/3")
"""The only IPv6 space in public use; outside it lie translations to IPv4 and leftovers that count as global."""


async def system_resolver(host: str) -> list[str]:
    """Addresses of a host by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, PORT, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Whether an address is one that anybody may reach: nothing private, local, shared, multicast or tunnelled."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and (ip not in _ORDINARY_V6 or ip.sixtofour or ip.teredo):
        return False
    return ip.is_global and not ip.is_multicast


def check_url(url: str, settings: Settings) -> SplitResult:
    """The parts of an address that may be fetched.

    Raises:
        InvalidInput: fetching is off, or the address is not https on an allowed host.
    """
    if not settings.allow_audio_url:
        raise InvalidInput(FIELD, "is not accepted by this server; upload the song as `audio`")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(FIELD, "is not a valid address") from error
    if len(url) > MAX_CHARS or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise InvalidInput(FIELD, f"must be at most {MAX_CHARS} plain characters")
    if parts.scheme != "https" or port not in (None, PORT):
        raise InvalidInput(FIELD, "must be an https address on the usual port")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(FIELD, "must not hold a user name or password")
    if (parts.hostname or "") not in {host.lower() for host in settings.audio_url_hosts}:
        raise InvalidInput(FIELD, "names a host that this server does not fetch from")
    return parts


async def checked_address(host: str, resolver: Resolver, public: Callable[[str], bool], field: str) -> str:
    """An address of a host that may be connected to.

    Raises:
        InvalidInput: the host has none, or one of its addresses may not be connected to; the error's field is `field`.
    """
    try:
        addresses = await resolver(host)
    except (OSError, UnicodeError) as error:
        raise InvalidInput(field, "names a host that cannot be found") from error
    if not addresses:
        raise InvalidInput(field, "names a host that cannot be found")
    if not all(public(address) for address in addresses):  # one bad address is one too many
        raise InvalidInput(field, "names a host that is not on the public network")
    return addresses[0]


def pinned(parts: SplitResult, address: str) -> str:
    """The address that `parts` name, with a checked address in place of the host."""
    host = f"[{address}]" if ":" in address else address
    target = f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path or '/'}"
    return target + (f"?{parts.query}" if parts.query else "")


@dataclass(frozen=True)
class AudioFetcher:
    """Fetches songs from allowed hosts.

    The host's addresses are resolved once and checked, and the connection goes to a checked address, so an answer of
    the name server cannot change in between. Redirects are refused: the target would have to be checked again, and
    hosts on the list can be listed by their final address.

    Attributes:
        resolver: host name to addresses.
        public: which addresses may be connected to.
        transport: how requests are sent; None: over the network.
    """

    settings: Settings
    resolver: Resolver = system_resolver
    public: Callable[[str], bool] = is_public
    transport: httpx.AsyncBaseTransport | None = field(default=None, compare=False)
    seconds: float = FETCH_SECONDS

    async def fetch(self, url: str) -> bytes:
        """The bytes of a song.

        Raises:
            InvalidInput: the address may not be fetched, or what it answers is no song that this server takes.
        """
        parts = check_url(url, self.settings)
        host = parts.hostname or ""
        try:
            async with asyncio.timeout(self.seconds):
                address = await checked_address(host, self.resolver, self.public, FIELD)
                return await self._get(parts, host, address)
        except TimeoutError as error:
            raise InvalidInput(FIELD, f"took longer than {self.seconds:g} s to fetch") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise InvalidInput(FIELD, "could not be fetched") from error

    async def _get(self, parts: SplitResult, host: str, address: str) -> bytes:
        target = pinned(parts, address)
        headers = {"Host": host, "Accept-Encoding": "identity"}
        # The certificate is checked against the name, though the connection goes to the address.
        extensions = {"sni_hostname": host}
        async with (
            httpx.AsyncClient(transport=self.transport, trust_env=False, follow_redirects=False) as client,
            client.stream("GET", target, headers=headers, extensions=extensions) as response,
        ):
            return await self._body(response)

    async def _body(self, response: httpx.Response) -> bytes:
        if response.is_redirect:
            raise InvalidInput(FIELD, "redirects elsewhere; give the final address")
        if response.status_code != 200:
            raise InvalidInput(FIELD, f"answered with status {response.status_code}")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise InvalidInput(FIELD, "answered with packed data")
        limit = self.settings.max_body_bytes
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > limit:
                raise InvalidInput(FIELD, f"is larger than {limit} bytes")
        return bytes(body)
