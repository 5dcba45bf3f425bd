"""What a server is given up for, and what is freed of replicas that died."""

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from waiting import wait_until

from serving.ray import watch
from serving.ray.session import HEAD, NODE
from serving.ray.watch import Watch
from serving.util.ownership import SHARED_MEMORY


class FakeSession:
    def __init__(self) -> None:
        self.lost: set[str] = set()

    def has_lost(self, name: str) -> bool:
        return name in self.lost


class FakeIngress(BaseHTTPRequestHandler):
    broken: frozenset[str] = frozenset()

    def do_GET(self) -> None:
        self.send_response(503 if self.path in type(self).broken else 200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch):
    for name in ("PERIOD_S", "LOST_S", "LAME_S"):
        monkeypatch.setattr(watch, name, 0.02)
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeIngress)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("lost", "broken", "said"),
    [({HEAD}, set(), "head"), ({NODE}, {"/healthz"}, "ingress"), ({NODE}, {"/readyz"}, "stage")],
)
def test_what_nothing_can_mend_is_a_problem(
    lost: set[str], broken: set[str], said: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = FakeSession()
    with Watch(session, url, []) as looking:  # type: ignore[arg-type]
        assert looking.problem is None
        monkeypatch.setattr(FakeIngress, "broken", frozenset(broken))
        session.lost = lost
        wait_until(lambda: looking.problem is not None)
        assert said in str(looking.problem)


def test_the_memory_of_the_dead_is_freed(url: str) -> None:
    code = (
        "from serving.util.ownership import SHARED_MEMORY, owner_prefix\n"
        "path = SHARED_MEMORY / f'{owner_prefix()}0'; path.write_bytes(b'x'); print(path)"
    )
    with Watch(FakeSession(), url, ["127.0.0.1:9"]) as looking:  # type: ignore[arg-type]
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        segment = SHARED_MEMORY / done.stdout.strip().rpartition("/")[2]
        wait_until(lambda: not segment.exists())
        assert looking.problem is None
