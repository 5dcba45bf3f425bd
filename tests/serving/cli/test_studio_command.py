"""`choreo studio`: when the server is up, its page is opened."""

from types import TracebackType
from typing import Any, Self

import pytest
from typer.testing import CliRunner

from serving.cli.main import app
from serving.settings import Settings


class FakeStack:
    """A server that is up at once and ends at once."""

    def __init__(self, settings: Settings) -> None:
        self.url = f"http://127.0.0.1:{settings.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        pass

    def wait(self) -> None:
        pass


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pages that a fake browser was told to open."""
    pages: list[str] = []
    monkeypatch.setattr("serving.ray.stack.Stack", FakeStack)
    monkeypatch.setattr("webbrowser.open", lambda url: pages.append(url) or True)
    return pages


def test_the_page_is_opened(opened: list[str]) -> None:
    done = CliRunner().invoke(app, ["studio", "--port", "8123"])
    assert done.exit_code == 0, done.output
    assert opened == ["http://127.0.0.1:8123/studio"]
    assert "the studio is open at http://127.0.0.1:8123/studio" in done.output


def test_or_only_its_address_is_told(opened: list[str]) -> None:
    done = CliRunner().invoke(app, ["studio", "--port", "8123", "--no-browser"])
    assert opened == []
    assert "the studio is ready at http://127.0.0.1:8123/studio" in done.output
