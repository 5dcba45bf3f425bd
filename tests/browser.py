"""Headless Chromium by the WebDriver protocol (W3C), as far as the studio's tests need it."""

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from waiting import wait_until

from serving.ray.app import free_port

PROGRAMS: Final = ("chromium", "chromedriver")
ABSENT: Final = next((f"{name} is not installed" for name in PROGRAMS if not shutil.which(name)), "")
"""Why there is no browser here; empty where there is one."""
FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--no-proxy-server",
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"
KEYS: Final = {
    "Space": " ", "Tab": "\ue004", "Enter": "\ue007", "Shift": "\ue008", "End": "\ue010", "Home": "\ue011",
    "Left": "\ue012", "Right": "\ue014", "Delete": "\ue017",
}  # fmt: skip


@dataclass
class Browser:
    """One window.

    Attributes:
        downloads: folder of what the page saved.
    """

    http: httpx.Client
    session: str
    downloads: Path

    def ask(self, method: str, path: str, **body: Any) -> Any:
        answer = self.http.request(method, f"/session/{self.session}{path}", json=body if method == "POST" else None)
        value = answer.json()["value"]
        assert answer.status_code == 200, f"{value['error']}: {value['message'][:500]}"
        return value

    def open(self, url: str) -> None:
        self.ask("POST", "/url", url=url)

    def size(self, width: int, height: int) -> None:
        """Make the page itself this large."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("POST", "/goog/cdp/execute", cmd="Emulation.setDeviceMetricsOverride", params=metrics)

    def offline(self, is_offline: bool) -> None:
        """Cut the page off from every server, or no longer."""
        conditions = {"offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.ask("POST", "/goog/cdp/execute", cmd="Network.enable", params={})
        self.ask("POST", "/goog/cdp/execute", cmd="Network.emulateNetworkConditions", params=conditions)

    def run(self, code: str, *arguments: Any) -> Any:
        """The value of a body of an async function, in which `studio` is the page's main module."""
        loaded = "const studio = await import(document.querySelector('script[type=module]').src); await studio.ready;"
        given = "const done = arguments[arguments.length - 1], args = [...arguments].slice(0, -1);"
        answered = "(value) => done({value}), (error) => done({error: String(error)})"
        script = f"{given} (async () => {{ {loaded} {code} }})().then({answered});"
        told = self.ask("POST", "/execute/async", script=script, args=list(arguments))
        assert "error" not in told, told["error"]
        return told.get("value")

    def wait(self, code: str, seconds: float = 60.0) -> None:
        """Wait until an expression is true in the page."""
        wait_until(lambda: self.run(f"return Boolean({code});"), seconds)

    def element(self, selector: str) -> str:
        return str(self.ask("POST", "/element", using="css selector", value=selector)[ELEMENT])

    def click(self, selector: str) -> None:
        self.ask("POST", f"/element/{self.element(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        """Type into an element, or give a file input a path."""
        self.ask("POST", f"/element/{self.element(selector)}/value", text=text)

    def choose(self, selector: str, value: str) -> None:
        self.click(f'{selector} option[value="{value}"]')

    def press(self, *names: str) -> None:
        """Press keys one after the other in whatever has the focus; of "Shift+Right" both at once."""
        steps: list[dict[str, str]] = []
        for name in names:
            keys = [KEYS.get(key, key) for key in name.split("+")]
            steps += [{"type": "keyDown", "value": key} for key in keys]
            steps += [{"type": "keyUp", "value": key} for key in reversed(keys)]
        self.ask("POST", "/actions", actions=[{"type": "key", "id": "keyboard", "actions": steps}])

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag the pointer between two places of the page, CSS pixels."""
        steps: list[dict[str, Any]] = [{"type": "pointerMove", "duration": 0, "x": int(start[0]), "y": int(start[1])}]
        steps += [{"type": "pointerDown", "button": 0}]
        steps += [{"type": "pointerMove", "duration": 30, "x": int(end[0]), "y": int(end[1])}]
        steps += [{"type": "pointerUp", "button": 0}]
        self.ask("POST", "/actions", actions=[{"type": "pointer", "id": "mouse", "actions": steps}])

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element in the window."""
        code = "const b = document.querySelector(args[0]).getBoundingClientRect(); return [b.x, b.y, b.width, b.height]"
        left, top, width, height = self.run(code, selector)
        return left, top, width, height

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(args[0]).innerText;", selector))

    def picture(self) -> NDArray[np.uint8]:
        """The window as (height, width, 3)."""
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(self.ask("GET", "/screenshot")))).convert("RGB"))

    def canvas(self, selector: str) -> NDArray[np.uint8]:
        """A canvas as (height, width, 3), after the next picture was painted."""
        code = "await new Promise(requestAnimationFrame); return document.querySelector(args[0]).toDataURL();"
        data = str(self.run(code, selector)).partition(",")[2]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    def complaints(self) -> list[str]:
        """Errors and warnings of the console since they were asked for before."""
        entries = self.ask("POST", "/se/log", type="browser")
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def fetched(self) -> list[str]:
        """Addresses that the page has asked for since it was asked before."""
        entries = [json.loads(entry["message"])["message"] for entry in self.ask("POST", "/se/log", type="performance")]
        sent = [entry["params"] for entry in entries if entry["method"] == "Network.requestWillBeSent"]
        return [str(params["request"]["url"]) for params in sent]


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser with an empty profile in a folder; afterwards it has ended."""
    downloads = folder / "downloads"
    downloads.mkdir()
    port = free_port("127.0.0.1", 0)
    log = (folder / "chromedriver.log").open("wb")
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=log, stderr=log, cwd=folder)
    options = {
        "args": [*FLAGS, f"--user-data-dir={folder / 'profile'}"],
        "prefs": {"download.default_directory": str(downloads), "download.prompt_for_download": False},
    }
    logs = {"browser": "ALL", "performance": "ALL"}
    wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
    wanted |= {"timeouts": {"script": 120_000}}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=150, trust_env=False) as http:
        try:
            wait_until(lambda: _answers(http), 60)
            answer = http.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
            assert "sessionId" in answer, answer
            browser = Browser(http, answer["sessionId"], downloads)
            yield browser
            http.delete(f"/session/{browser.session}")
        finally:
            driver.terminate()
            driver.wait(30)
            log.close()


def _answers(http: httpx.Client) -> bool:
    try:
        return bool(http.get("/status").json()["value"]["ready"])
    except httpx.TransportError:
        return False
