"""Settings are input: a value that cannot be used is named by its variable, in one line."""

from pathlib import Path

import pytest

from choreo.errors import InvalidInput
from serving.settings import Settings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MAX_SECONDS", "abc"), ("MAX_SECONDS", "nan"), ("MAX_SECONDS", "inf"), ("MAX_SECONDS", "-1"),
        ("MAX_SECONDS", "1e300"), ("PORT", "70000"), ("PORT", "x"), ("SHARED_MEMORY", "maybe"), ("EXECUTOR", "x"),
        ("WAVE_ROWS", "0"), ("STEP_BATCH_ROWS", "x"), ("DRAIN_S", "-1"), ("MODELS", "x"), ("MODELS", "[1]"),
        ("TRITON_URL", "x"), ("TRITON_URL", "{}"), ("TRITON_URL", '["x"]'), ("TRITON_URL", '["http://a:8000"]'),
        ("TRITON_URL", '["a:99999"]'), ("TRITON_URL", "[" * 100_000), ("AUDIO_URL_HOSTS", "example.org"),
    ],
)  # fmt: skip
def test_a_variable_that_cannot_be_used_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"CHOREO_{variable}", value)
    with pytest.raises(InvalidInput) as caught:
        Settings()
    assert caught.value.field == f"CHOREO_{variable}"
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


def test_an_argument_is_named_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOREO_PORT", "8000")
    with pytest.raises(InvalidInput) as caught:
        Settings(port=70000)
    assert caught.value.field == "port"
    assert Settings(port=1).named("port") == "port"
    assert Settings().named("port") == "CHOREO_PORT"


def test_empty_variables_are_not_set_and_lists_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "TRITON_URL", "WEIGHTS", "MAX_SECONDS"):
        monkeypatch.setenv(f"CHOREO_{name}", "")
    assert Settings().model_dump() == Settings(port=8000).model_dump()
    monkeypatch.setenv("CHOREO_TRITON_URL", '["triton-1:8001", "[::1]:8001"]')
    assert Settings().triton_url == ("triton-1:8001", "[::1]:8001")


def test_jobs_are_kept_where_data_of_users_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("serving.settings.CHECKOUT", None)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Settings().data_dir == tmp_path / "choreo"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Settings().data_dir == tmp_path / "home" / ".local" / "share" / "choreo"
    monkeypatch.setenv("CHOREO_DATA_DIR", str(tmp_path / "here"))
    assert Settings().jobs_database == tmp_path / "here" / "jobs.sqlite"


@pytest.mark.parametrize(
    ("name", "value"),
    [("CHOREO_WEBHOOK_SECRET", "hunter22"), ("CHOREO_JOBS_URL", "mysql://me:hunter22@host/name")],
)
def test_secrets_that_cannot_be_used_are_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput) as caught:
        Settings()
    assert caught.value.field == name
    assert "hunter22" not in caught.value.message
