"""Proxies, homes and folder names that the program must not stumble over."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from choreo.errors import InvalidInput
from serving.util import temporary
from serving.util.surroundings import CACHES, bypass_proxies, prepare
from serving.util.temporary import safe_folder


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "corp.example, 127.0.0.1"}, "corp.example,127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "a", "no_proxy": "b,"}, "b,a,127.0.0.1,localhost,::1"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_traffic_on_this_machine_goes_past_proxies(given: dict[str, str], wanted: str) -> None:
    environment = dict(given)
    for _ in range(2):
        bypass_proxies(environment)
        assert environment == {"no_proxy": wanted, "NO_PROXY": wanted}


def test_libraries_ignore_proxies_on_loopback() -> None:
    code = (
        "from serving.util.surroundings import prepare; prepare(); import urllib.request, requests.utils\n"
        "assert urllib.request.proxy_bypass('127.0.0.1') and urllib.request.proxy_bypass('localhost')\n"
        "assert not requests.utils.get_environ_proxies('http://127.0.0.1:8000')\n"
        "assert requests.utils.get_environ_proxies('http://example.org')"
    )
    names = ("HTTP_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy")
    environment = dict.fromkeys(names, "http://127.0.0.1:9") | {"PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_caches_go_elsewhere_where_there_is_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os; from serving.util.surroundings import CACHES, prepare; prepare(); prepare()\n"
        "assert len({os.environ[name] for name in CACHES}) == 1 and os.path.isdir(os.environ[CACHES[0]])\n"
        "print(os.environ[CACHES[0]])"
    )
    environment = {"HOME": str(tmp_path / "missing"), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert not Path(done.stdout.strip()).exists()
    monkeypatch.setenv("HOME", str(tmp_path))
    kept: dict[str, str] = {}
    prepare(kept)
    assert not set(CACHES) & set(kept)


@pytest.mark.parametrize("name", ["with a space", "mÿ", "quote'", "dollar$", "x" * 80])
def test_names_that_a_shell_or_a_locale_breaks_are_avoided(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert safe_folder() != folder
    assert temporary.temporary_folders()[0] == folder
    assert safe_folder().is_dir()
    monkeypatch.setattr(temporary, "_ELSEWHERE", ())
    with pytest.raises(InvalidInput) as caught:
        safe_folder()
    assert caught.value.field == "TMPDIR"


def test_the_users_own_folder_is_taken_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        assert safe_folder() == Path(folder)
        assert safe_folder(longest=4) == Path("/tmp")
