"""The studio of an ingress over stages that stand still, in a browser."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import ABSENT, Browser, chromium
from http_thread import served

from choreo.music.synth import synthesize_song, write_wav
from serving.http.ingress import create_app
from serving.settings import Settings


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if ABSENT:
        pytest.skip(ABSENT)
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@dataclass
class Studio:
    """A page that was just opened."""

    page: Browser
    url: str
    stages: Any

    def open(self, behind: str = "") -> None:
        """Open the page anew, with nothing kept of before."""
        self.page.open("about:blank")
        self.page.open(f"{self.url}/studio{behind}")

    def generate(self, takes: int = 1, **fields: str) -> None:
        """Fill in the form and generate; returns when all takes are there."""
        for name, value in fields.items():
            self.page.run("document.getElementById(args[0]).value = args[1];", name, value)
        self.page.run("document.getElementById('takes').value = String(args[0]);", takes)
        self.page.click("#generate")
        self.page.wait(f"studio.takes.list.filter((take) => take.dance).length === {takes}")


@pytest.fixture
def settings() -> dict[str, Any]:
    """Those of the ingress; tests replace it."""
    return {}


@pytest.fixture
def studio(window: Browser, stages: Any, settings: dict[str, Any], tmp_path: Path) -> Iterator[Studio]:
    app = create_app(Settings(data_dir=tmp_path / "data", **settings), stages.stages())
    with served(app) as url:
        window.size(1280, 900)
        studio = Studio(window, url, stages)
        studio.open()
        window.ask("POST", "/execute/sync", script="sessionStorage.clear();", args=[])
        window.complaints()
        window.fetched()
        studio.open()
        yield studio
        window.open("about:blank")


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds at 120 BPM."""
    path = tmp_path_factory.mktemp("songs") / "song.wav"
    samples, rate, _ = synthesize_song(120.0, 6.0)
    write_wav(path, samples, rate)
    return path
