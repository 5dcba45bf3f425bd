"""The files of the studio as the ingress answers with them."""

import re
from typing import Any

import pytest

from serving.http.studio import FOLDER, studio_files

STRANGE = ("nothing.js", "..%2fingress.py", "%2e%2e/keys.py", "main.js/x", "__init__.py", "a" * 5000)
KEYS = '{"keys": [{"name": "anna", "key": "a-long-key-for-the-studio"}]}'


def test_the_page_lets_nothing_be_fetched_from_elsewhere(ingress: Any) -> None:
    answer = ingress.ask("GET", "/studio")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_file_names_another_host() -> None:
    for name, file in studio_files().items():
        addresses = set(re.findall(rb"(?:https?:)?//[\w.-]+\.\w+", file.content)) - {b"http://www.w3.org"}
        assert not addresses, name


def test_every_file_that_is_named_is_there(ingress: Any) -> None:
    names = set(re.findall(r'(?:src|href)="studio/([^"]+)"', (FOLDER / "index.html").read_text()))
    for path in FOLDER.glob("*.js"):
        names |= set(re.findall(r'from "\./([^"]+)"', path.read_text()))
    assert names | {"index.html"} == {path.name for path in FOLDER.iterdir()}
    for name in names:
        assert ingress.ask("GET", f"/studio/{name}").status_code == 200


def test_it_is_sent_once(ingress: Any) -> None:
    tag = ingress.ask("GET", "/studio/main.js").headers["etag"]
    again = ingress.ask("GET", "/studio/main.js", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert ingress.ask("HEAD", "/studio/main.js").headers["etag"] == tag


@pytest.mark.parametrize("name", STRANGE)
def test_other_files_are_not_answered(ingress: Any, name: str) -> None:
    assert ingress.ask("GET", f"/studio/{name}").status_code == 404


def test_the_page_needs_no_key_but_what_it_asks_for_does(ingress: Any) -> None:
    for path in ("/studio", "/studio/main.js", "/studio/about.json"):
        assert ingress.ask("GET", path, settings={"api_keys": KEYS}).status_code == 200
    for path in ("/v1/models", "/studios", "/v1/studio/"):
        assert ingress.ask("GET", path, settings={"api_keys": KEYS}).status_code == 401


def test_it_says_what_the_server_has(ingress: Any) -> None:
    told = ingress.ask("GET", "/studio/about.json", settings={"api_keys": KEYS}).json()
    assert told["needs_key"] is True
    assert ingress.ask("GET", "/studio/about.json").json()["needs_key"] is False
    assert told["presets"] == ["reference", "fast", "draft"]
    assert {"json", "npz", "bvh", "glb", "mp4"} <= {fmt["name"] for fmt in told["formats"]}
    assert "/studio" not in ingress.ask("GET", "/openapi.json").json()["paths"]
