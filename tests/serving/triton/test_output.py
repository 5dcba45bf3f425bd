"""What a Triton server writes, as records."""

import logging
from pathlib import Path

import pytest

from serving.triton.output import LOGGER, ServerOutput

LINES = (
    'I1128 00:57:04.705123 4711 server.cc:674] "started"\n'
    "+------+\n"
    "W1128 00:57:05.000001 4711 metrics.cc:12] no GPU\n"
    "E1128 00:57:06.000001 4712 src/model.cc:99] it broke\n"
)


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, LOGGER)
    return caplog


def got(records: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [(record.levelname, record.getMessage()) for record in records.records if record.name == LOGGER]
    records.clear()
    return found


def test_lines_have_the_levels_that_the_server_gave_them(tmp_path: Path, records: pytest.LogCaptureFixture) -> None:
    output = ServerOutput(tmp_path / "triton.log")
    output.pass_on()
    (tmp_path / "triton.log").write_text(LINES)
    output.pass_on()
    assert [record.__dict__.get("fields", {}).get("source") for record in records.records] == [
        "server.cc:674", None, "metrics.cc:12", "src/model.cc:99",
    ]  # fmt: skip
    assert got(records) == [
        ("INFO", '"started"'), ("INFO", "+------+"), ("WARNING", "no GPU"), ("ERROR", "it broke"),
    ]  # fmt: skip
    output.pass_on()
    assert got(records) == []


def test_lines_are_passed_on_once_they_are_whole(tmp_path: Path, records: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "triton.log"
    path.write_text("of another start\n")
    output = ServerOutput(path)
    with path.open("a") as file:
        for part, lines in (("W1128 00:57:05.000001 1 a.cc:1] ha", []), ("lf\nnext\n", ["half", "next"])):
            file.write(part)
            file.flush()
            output.pass_on()
            assert [message for _, message in got(records)] == lines


def test_it_follows_rotation(tmp_path: Path, records: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "triton.log"
    output = ServerOutput(path)
    path.write_text("first\n")
    output.pass_on()
    path.rename(tmp_path / "triton.log.1")
    path.write_text("other\n")
    output.pass_on()
    assert [message for _, message in got(records)] == ["first", "other"]
