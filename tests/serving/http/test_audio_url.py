"""Songs by address: what is fetched, from where, and everything that is refused."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from choreo.errors import InvalidInput
from serving.http.audio_url import AudioFetcher, check_url, is_public
from serving.settings import Settings

HOST = "songs.example.org"
URL = f"https://{HOST}/a%20song.wav?take=2"
ADDRESS = "93.184.215.14"

Handler = Callable[[httpx.Request], httpx.Response]


def settings(**changes: object) -> Settings:
    values = {"allow_audio_url": True, "audio_url_hosts": (HOST,), "max_body_bytes": 1000} | changes
    return Settings(**values)  # type: ignore[arg-type]


def fetcher(handler: Handler, addresses: tuple[str, ...] = (ADDRESS,), **changes: object) -> AudioFetcher:
    async def resolve(host: str) -> tuple[str, ...]:
        assert host == HOST
        return addresses

    return AudioFetcher(settings(**changes), resolve, transport=httpx.MockTransport(handler))


def never(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"{request.url} was fetched")


def refusal(fetch: AudioFetcher, url: str = URL) -> str:
    with pytest.raises(InvalidInput) as caught:
        asyncio.run(fetch.fetch(url))
    assert caught.value.field == "audio_url"
    return caught.value.message


def test_fetches_by_pinned_address_under_the_hosts_name() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, stream=_stream(b"RIFF"))

    assert asyncio.run(fetcher(handler).fetch(URL)) == b"RIFF"
    (request,) = seen
    assert str(request.url) == f"https://{ADDRESS}/a%20song.wav?take=2"
    assert request.headers["host"] == HOST
    assert request.extensions["sni_hostname"] == HOST
    assert request.headers["accept-encoding"] == "identity"


def test_pins_ipv6() -> None:
    hosts: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(200, stream=_stream(b"x"))

    asyncio.run(fetcher(handler, ("2606:4700::1111",)).fetch(URL))
    assert hosts == ["2606:4700::1111"]


def test_the_name_is_resolved_once() -> None:
    answers = [[ADDRESS], ["127.0.0.1"]]

    async def rebinding(host: str) -> list[str]:
        return answers.pop(0)

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.host == ADDRESS
        return httpx.Response(200, stream=_stream(b"x"))

    fetch = AudioFetcher(settings(), rebinding, transport=httpx.MockTransport(handler))
    assert asyncio.run(fetch.fetch(URL)) == b"x"
    assert len(answers) == 1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.8", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "fec0::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::",
        "2001::1", "not an address",
    ],
)  # fmt: skip
def test_refuses_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)
    assert "public network" in refusal(fetcher(never, (ADDRESS, address)))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/a.wav",
        f"ftp://{HOST}/a.wav",
        "file:///etc/passwd",
        "/etc/passwd",
        "",
        "https://",
        f"https://{HOST}:8443/a.wav",
        f"https://{HOST}:99999/a.wav",
        f"https://user@{HOST}/a.wav",
        f"https://user:secret@{HOST}/a.wav",
        f"https://other.example.org@{HOST}/a.wav",
        "https://other.example.org/a.wav",
        f"https://{HOST}.evil.example/a.wav",
        f"https://evil.example/{HOST}",
        f"https://{HOST}./a.wav",
        f"https://{HOST}\\@evil.example/a.wav",
        f"https://{HOST}/a\n.wav",
        f"https://{HOST}/a b.wav",
        f"https://{HOST}/ä.wav",
        "https://127.0.0.1/a.wav",
        "https://[::1]/a.wav",
        "https://[::1/a.wav",
        f"https://{HOST}/" + "a" * 3000,
    ],
)
def test_refuses_other_urls(url: str) -> None:
    refusal(fetcher(never), url)


def test_is_off_by_default() -> None:
    with pytest.raises(InvalidInput, match="upload the song"):
        check_url(URL, Settings())


def test_hosts_are_compared_without_case() -> None:
    assert check_url(URL.replace(HOST, HOST.upper()), settings(audio_url_hosts=("Songs.Example.ORG",))).hostname == HOST


def test_refuses_redirects_even_to_the_same_host() -> None:
    redirect = httpx.Response(302, headers={"Location": f"https://{HOST}/b.wav"})
    assert "redirects" in refusal(fetcher(lambda request: redirect))


@pytest.mark.parametrize("status", [204, 403, 404, 500])
def test_refuses_other_statuses(status: int) -> None:
    assert str(status) in refusal(fetcher(lambda request: httpx.Response(status)))


def test_refuses_packed_data() -> None:
    packed = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=_stream(b"x"))
    assert "packed" in refusal(fetcher(lambda request: packed))


def test_stops_at_the_size_limit() -> None:
    sent = 0

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 100
                yield b"x" * 100

    assert "larger" in refusal(fetcher(lambda request: httpx.Response(200, stream=Endless())))
    assert sent <= 1200


def test_stops_at_the_time_limit() -> None:
    class Stuck(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"x"
            await asyncio.Event().wait()

    slow = fetcher(lambda request: httpx.Response(200, stream=Stuck()))
    assert "longer" in refusal(AudioFetcher(slow.settings, slow.resolver, transport=slow.transport, seconds=0.05))


def test_an_unknown_host_and_a_broken_connection_are_named() -> None:
    async def unknown(host: str) -> list[str]:
        raise OSError("no such host")

    assert "cannot be found" in refusal(AudioFetcher(settings(), unknown))
    assert "cannot be found" in refusal(fetcher(never, ()))

    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("10.1.2.3 refused")

    assert "10.1.2.3" not in refusal(fetcher(broken))


def _stream(data: bytes) -> httpx.AsyncByteStream:
    class Once(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield data

    return Once()
