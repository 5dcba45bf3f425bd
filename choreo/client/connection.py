"""Where the server is, who asks, and how patiently."""

import importlib.metadata
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httpx

from choreo.client.retries import Deadline, Retries
from choreo.errors import InvalidInput

URL_VARIABLE: Final = "CHOREO_URL"
KEY_VARIABLE: Final = "CHOREO_API_KEY"
DEFAULT_URL: Final = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S: Final = 120.0
"""As long as a server gives a request that does not say how long its sender waits."""
MAX_TIMEOUT_S: Final = 7 * 24 * 3600.0
MAX_KEY_CHARS: Final = 4096
_PLAIN: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,2048}")


@dataclass(frozen=True)
class Connection:
    """What every request of a client has in common.

    Attributes:
        url: address of the server, without a slash at its end.
        headers: of every request; they may hold the key, so they are not shown.
        timeout_s: deadline of a call that names none.
        retries: how requests are repeated.
        through_proxies: whether the proxies of the environment are used.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    timeout_s: float
    retries: Retries
    through_proxies: bool

    def deadline(self, timeout_s: float | None) -> Deadline:
        """The deadline of a call that begins now.

        Raises:
            InvalidInput: not a positive number of seconds, or more than a week.
        """
        return Deadline.after(check_timeout(self.timeout_s if timeout_s is None else timeout_s))


def connection(url: str | None, api_key: str | None, timeout_s: float, retries: Retries | None) -> Connection:
    """The connection of a client; what is None comes from the environment, or is a default.

    Raises:
        InvalidInput: an address, key or time that cannot be used; the field is the variable where it comes from one.
    """
    name = "url" if url is not None else URL_VARIABLE
    address, host = _address(url if url is not None else os.environ.get(URL_VARIABLE) or DEFAULT_URL, name)
    headers = {"User-Agent": f"choreo/{importlib.metadata.version('choreo')}"}
    name = "api_key" if api_key is not None else KEY_VARIABLE
    key = api_key if api_key is not None else os.environ.get(KEY_VARIABLE)
    if key:
        headers["Authorization"] = f"Bearer {_checked_key(key, name)}"
    return Connection(address, headers, check_timeout(timeout_s), retries or Retries(), not is_loopback(host))


def check_timeout(timeout_s: float) -> float:
    """Check a number of seconds.

    Raises:
        InvalidInput: not positive, or more than a week.
    """
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise InvalidInput("timeout_s", f"must be a positive number of seconds, at most a week, got {timeout_s}")
    return float(timeout_s)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name or number."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(url: str, name: str) -> tuple[str, str]:
    """An address and its host."""
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname
        _ = parts.port  # raises where it is none
        httpx.URL(url.strip())
    except (ValueError, httpx.InvalidURL) as error:
        raise InvalidInput(name, f"must be an address like http://host:8000, got {url[:80]!r}") from error
    if parts.scheme not in ("http", "https") or not host or not _PLAIN.fullmatch(url.strip()):
        raise InvalidInput(name, f"must begin with http:// or https:// and a host, got {url[:80]!r}")
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidInput(name, "must have no user name, query or fragment")
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/"), host


def _checked_key(key: str, name: str) -> str:
    key = key.strip()
    if not key or len(key) > MAX_KEY_CHARS or not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidInput(name, "must be printable ASCII without spaces, as a header can carry it")  # not shown
    return key
