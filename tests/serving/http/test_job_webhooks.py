"""Webhooks of jobs, sent to a real receiver on this machine."""

import asyncio
import hashlib
import hmac
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from choreo.errors import InvalidInput
from serving.http.ingress import create_app
from serving.http.webhook_post import WebhookPost, check_webhook
from serving.jobs.delivery import DeliveryFailed
from serving.settings import Settings

SECRET = "a secret of some length"
TEXT = {"text_prompt": "a slow waltz", "format": "npz"}


@dataclass
class Receiver:
    """Answers with the statuses that it is told, the last one again and again.

    Attributes:
        got: (path, headers, body) of every delivery.
        silent: whether it never answers.
    """

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    silent: bool = False
    closing: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            if told.silent:
                told.closing.wait(60)
                return
            status = told.statuses.pop(0) if len(told.statuses) > 1 else told.statuses[0]
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/redirected")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}/danced?by=choreo"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield told
        told.closing.set()
        server.shutdown()


@pytest.fixture
def serve(stages: Any, tmp_path: Path) -> Callable[..., Any]:
    @asynccontextmanager
    async def one(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        own = {"webhook_secret": SECRET, "webhook_hosts": ("127.0.0.1",), "webhook_backoff_s": 0.01} | settings
        app = create_app(Settings(data_dir=tmp_path, **own), stages.stages())
        app.state.jobs.start()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://choreo.test", timeout=30) as client:
            try:
                yield client
            finally:
                await app.state.jobs.close()

    return one


async def until(client: httpx.AsyncClient, job: str, state: str) -> dict[str, Any]:
    """The job, once its webhook is in that state."""
    async with asyncio.timeout(30):
        while (found := (await client.get(f"/v1/jobs/{job}")).json())["webhook"]["state"] != state:
            await asyncio.sleep(0.01)
    return dict(found)


async def submit(client: httpx.AsyncClient, receiver: Receiver) -> str:
    answer = await client.post("/v1/jobs", json={"requests": [TEXT], "webhook": {"url": receiver.url}})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def deliveries(client: httpx.AsyncClient) -> dict[str, float]:
    """Attempts by outcome, as the metrics tell them."""
    text = (await client.get("/metrics")).text
    found = re.findall(r'^choreo_webhook_deliveries_total{outcome="(\w+)"} (\S+)$', text, re.MULTILINE)
    return {outcome: float(count) for outcome, count in found}


def run(test: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def test_the_end_of_a_job_is_told_and_signed(serve: Any, receiver: Receiver) -> None:
    async def walk() -> None:
        async with serve() as client:
            job = await submit(client, receiver)
            found = await until(client, job, "delivered")
            assert found["webhook"] == {"url": receiver.url, "state": "delivered", "attempts": 1, "error": None}

    run(walk)
    ((path, headers, body),) = receiver.got
    assert path == "/danced?by=choreo"
    document = json.loads(body)
    assert (document["type"], document["job"]["counts"]["succeeded"]) == ("job.succeeded", 1)
    assert document["id"] == headers["choreo-webhook-id"]
    assert headers["content-type"] == "application/json"
    signed = f"{headers['choreo-webhook-timestamp']}.".encode() + body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["choreo-webhook-signature"] == f"v1={expected}"


def test_what_was_not_taken_is_sent_again(serve: Any, receiver: Receiver) -> None:
    receiver.statuses = [500, 302, 200]

    async def walk() -> None:
        async with serve() as client:
            found = await until(client, await submit(client, receiver), "delivered")
            assert found["webhook"]["attempts"] == 3
            assert await deliveries(client) == {"delivered": 1, "retried": 2, "given_up": 0}

    run(walk)
    assert len({headers["choreo-webhook-id"] for _, headers, _ in receiver.got}) == 1
    assert {path for path, _, _ in receiver.got} == {"/danced?by=choreo"}


def test_a_receiver_that_never_takes_it_is_given_up(serve: Any, receiver: Receiver) -> None:
    receiver.statuses = [301]

    async def walk() -> None:
        async with serve(webhook_attempts=2) as client:
            found = await until(client, await submit(client, receiver), "failed")
            assert found["webhook"]["error"] == "answered with status 301; redirects are not followed"
            assert await deliveries(client) == {"delivered": 0, "retried": 1, "given_up": 1}

    run(walk)
    assert len(receiver.got) == 2


def test_deliveries_go_on_after_a_restart(serve: Any, receiver: Receiver) -> None:
    receiver.statuses = [503]

    async def walk() -> None:
        async with serve(webhook_attempts=100) as client:
            job = await submit(client, receiver)
            while not receiver.got:
                await asyncio.sleep(0.01)
        receiver.statuses = [200]
        async with serve() as client:
            await until(client, job, "delivered")

    run(walk)


def test_a_receiver_that_never_answers_holds_nothing_up(serve: Any, receiver: Receiver) -> None:
    receiver.silent = True

    async def walk() -> None:
        async with serve(webhook_timeout_s=60) as client:
            first = await submit(client, receiver)
            while not receiver.got:
                await asyncio.sleep(0.01)
            receiver.silent = False
            second = await submit(client, receiver)
            await until(client, second, "delivered")
            assert (await client.get(f"/v1/jobs/{first}")).json()["state"] == "succeeded"
            assert (await client.delete(f"/v1/jobs/{first}")).status_code == 204

    run(walk)


def test_a_form_names_its_webhook(serve: Any, receiver: Receiver) -> None:
    async def walk() -> None:
        async with serve() as client:
            form = TEXT | {"webhook_url": receiver.url}
            answer = await client.post("/v1/jobs", files={name: (None, value) for name, value in form.items()})
            await until(client, answer.json()["id"], "delivered")

    run(walk)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "https://example.org:8443/",
        "https://user@example.org/",
        "ftp://127.0.0.1/",
        "https:///path",
        "https://exämple.org/",
        "https://example.org:99999/",
        "https://example.org/" + "a" * 3000,
        "file:///etc/passwd",
        "https://127.0.0.2/",
        "https://10.0.0.1/",
        "https://[::1]/",
    ],
)
def test_addresses_that_webhooks_may_not_go_to(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_webhook(url, Settings(webhook_secret=SECRET, webhook_hosts=("127.0.0.1",)))
    assert caught.value.field == "webhook.url"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1", "not an address"])
def test_private_addresses_are_refused_when_it_is_sent(address: str) -> None:
    async def resolve(host: str) -> list[str]:
        return ["93.184.215.14", address]

    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError

    post = WebhookPost(Settings(webhook_secret=SECRET), resolve, transport=httpx.MockTransport(never))
    with pytest.raises(DeliveryFailed, match="not on the public network"):
        asyncio.run(post("https://example.org/", {}, b"{}"))


def test_deliveries_go_to_the_checked_address() -> None:
    seen: list[httpx.Request] = []

    async def resolve(host: str) -> list[str]:
        return ["93.184.215.14"]

    def note(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    post = WebhookPost(Settings(webhook_secret=SECRET), resolve, transport=httpx.MockTransport(note))
    asyncio.run(post("https://example.org/a?b=c", {"X": "y"}, b"{}"))
    (request,) = seen
    assert str(request.url) == "https://93.184.215.14/a?b=c"
    assert (request.headers["host"], request.headers["x"]) == ("example.org", "y")
    assert request.extensions["sni_hostname"] == "example.org"
