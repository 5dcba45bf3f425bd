"""Addresses and keys from arguments and the environment."""

import pytest

from choreo.client import Client
from choreo.client.connection import connection
from choreo.errors import InvalidInput


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHOREO_URL", "CHOREO_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection(None, None, 1, None).url == "http://127.0.0.1:8000"
    monkeypatch.setenv("CHOREO_URL", "https://dance.example.org/choreo/")
    monkeypatch.setenv("CHOREO_API_KEY", "secret-1\n")
    at = connection(None, None, 1, None)
    assert (at.url, at.headers["Authorization"]) == ("https://dance.example.org/choreo", "Bearer secret-1")
    assert at.headers["User-Agent"].startswith("choreo/")
    assert connection("http://a", "other", 1, None).headers["Authorization"] == "Bearer other"
    assert "Authorization" not in connection("http://a", "", 1, None).headers


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(connection("http://a", "secret", 1, None))
    with Client("http://a", api_key="secret") as client:
        assert "secret" not in repr(client)


@pytest.mark.parametrize(
    "url",
    ["", "server:8000", "ftp://a", "http://", "http://a:x", "http://a:70000", "http://u:p@a", "http://a/?q", "http://[",
     "http://a\nb", "http://a#b", "http://a\u2000b", "http://a b", "http://[::1::2]"],
)  # fmt: skip
def test_addresses_that_are_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput) as caught:
        Client(url)
    assert caught.value.field == "url"
    if url:
        monkeypatch.setenv("CHOREO_URL", url)
        with pytest.raises(InvalidInput) as caught:
            Client()
        assert caught.value.field == "CHOREO_URL"


@pytest.mark.parametrize("key", ["a b", "ключ", "a\nb", "k" * 5000])
def test_keys_that_no_header_can_carry(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOREO_API_KEY", key)
    with pytest.raises(InvalidInput) as caught:
        Client()
    assert caught.value.field == "CHOREO_API_KEY"
    assert key not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.9", "http://[::1]:8000", "http://a.localhost"])
def test_proxies_are_not_used_for_this_machine(url: str) -> None:
    assert not connection(url, None, 1, None).through_proxies
    assert connection("http://example.org", None, 1, None).through_proxies
