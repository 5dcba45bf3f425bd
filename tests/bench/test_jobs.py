"""The benchmark of jobs, at its smallest."""

import json

import pytest

from bench.jobs import main
from bench.postgres_server import postgres_programs

SMALLEST = ["--seconds", "0.2", "--rounds", "1", "--json"]


def test_everything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALLEST, "--items", "2,4", "--databases", "sqlite"]) == 0
    rows = {(row["case"], row["metric"]): row["value"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["sqlite submit/1", "jobs_per_s"] > 0
    assert rows["sqlite submit/100", "requests_per_s"] > 0
    for count in (2, 4):
        assert rows[f"sqlite job/{count}", "ms_per_request"] > 0
        assert (f"sqlite job/{count}", "overhead_ms") in rows
    assert rows["sqlite job/4", "times_smallest"] > 0
    assert ("sqlite job/2", "times_smallest") not in rows


@pytest.mark.slow
def test_postgresql_is_measured_where_it_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALLEST, "--items", "2", "--databases", "postgresql"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    cases = {row["case"] for row in rows}
    assert cases == {"postgresql"} if postgres_programs() is None else "postgresql job/2" in cases


def test_other_databases_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--databases", "sqlite,mysql"]) == 2
    assert "databases" in capsys.readouterr().err
