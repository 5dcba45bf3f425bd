"""Where webhooks may go, and one delivery: to a checked address, without redirects, whatever the receiver does."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httpx

from choreo.errors import InvalidInput
from serving.http.audio_url import MAX_CHARS, Resolver, checked_address, is_public, pinned, system_resolver
from serving.jobs.delivery import DeliveryFailed
from serving.settings import Settings

FIELD: Final = "webhook.url"
PORT: Final = 443


def check_webhook(url: str, settings: Settings) -> SplitResult:
    """The parts of an address that webhooks may go to.

    Raises:
        InvalidInput: webhooks are off, or the address is neither public https on the usual port nor on a host of the
            settings.
    """
    if not settings.webhook_secret.get_secret_value():
        raise InvalidInput("webhook", "is not accepted by this server, which has no secret to sign it with")
    try:
        parts = urlsplit(url)
        port, host = parts.port, (parts.hostname or "").lower()
    except ValueError as error:
        raise InvalidInput(FIELD, "is not a valid address") from error
    if len(url) > MAX_CHARS or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise InvalidInput(FIELD, f"must be at most {MAX_CHARS} plain characters")
    if not host or parts.username is not None or parts.password is not None:
        raise InvalidInput(FIELD, "must name a host, and hold no user name or password")
    if _is_own(host, settings):
        if parts.scheme not in ("http", "https"):
            raise InvalidInput(FIELD, "must be an http or https address")
    elif parts.scheme != "https" or port not in (None, PORT):
        raise InvalidInput(FIELD, "must be an https address on the usual port")
    elif _is_address(host) and not is_public(host):
        raise InvalidInput(FIELD, "is not on the public network")
    return parts


@dataclass(frozen=True)
class WebhookPost:
    """Makes deliveries.

    The host's addresses are resolved once and checked, and the connection goes to a checked address, as for songs
    (`serving.http.audio_url`). Hosts of `webhook_hosts` may be anywhere.

    Attributes:
        resolver: host name to addresses.
        public: which addresses may be connected to.
        transport: how requests are sent; None: over the network.
    """

    settings: Settings
    resolver: Resolver = system_resolver
    public: Callable[[str], bool] = is_public
    transport: httpx.AsyncBaseTransport | None = field(default=None, compare=False)

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Deliver once; the caller limits the time. Of the answer only the status is read.

        Raises:
            DeliveryFailed: the address may not be used, cannot be reached, or did not answer with 2xx.
        """
        try:
            parts = check_webhook(url, self.settings)  # settings may have changed since it was accepted
            host = parts.hostname or ""
            public = (lambda address: True) if _is_own(host, self.settings) else self.public
            address = await checked_address(host, self.resolver, public, FIELD)
            named = {**headers, "Host": parts.netloc, "User-Agent": "choreo"}
            async with (
                httpx.AsyncClient(
                    transport=self.transport,
                    trust_env=False,
                    follow_redirects=False,
                    timeout=self.settings.webhook_timeout_s,
                ) as client,
                client.stream(
                    "POST", pinned(parts, address), content=body, headers=named, extensions={"sni_hostname": host}
                ) as response,
            ):
                status = response.status_code
        except InvalidInput as error:
            raise DeliveryFailed(str(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise DeliveryFailed(f"could not be reached ({type(error).__name__})") from error
        if not 200 <= status < 300:
            redirected = "; redirects are not followed" if 300 <= status < 400 else ""
            raise DeliveryFailed(f"answered with status {status}{redirected}")


def _is_own(host: str, settings: Settings) -> bool:
    return host.lower() in {known.lower() for known in settings.webhook_hosts}


def _is_address(host: str) -> bool:
    """Whether a host is an address, and not a name, whose addresses are looked up when it is sent."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
