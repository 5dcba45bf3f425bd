from pathlib import Path

import pytest

from choreo.errors import InvalidInput
from loadtest.options import parse
from loadtest.scenarios import Scenario

URL = "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (["ftp://a"], "url"), (["localhost:8000"], "url"), (["http://u:p@host"], "url"), (["http://a?x=1"], "url"),
        (["http://a:99999"], "url"),
        ([URL, "--seconds", "nan"], "seconds"), ([URL, "--seconds", "0"], "seconds"),
        ([URL, "--warm-up", "60"], "warm-up"), ([URL, "--users", "0"], "users"), ([URL, "--users", "1000000"], "users"),
        ([URL, "--spawn-rate", "0"], "spawn-rate"), ([URL, "--rate", "0"], "rate"), ([URL, "--rate", "inf"], "rate"),
        ([URL, "--rate", "1e6", "--seconds", "100"], "rate"), ([URL, "--rates", "1,x"], "rates"),
        ([URL, "--rates", "1,1"], "rates"), ([URL, "--rates", ""], "rates"),
        ([URL, "--rate", "1", "--rates", "1,2"], "rates"), ([URL, "--rate", "1", "--users", "2"], "rate"),
        ([URL, "--rate", "1", "--web"], "rate"), ([URL, "--error-rate", "1.5"], "error-rate"),
        ([URL, "--p95", "-1"], "p95"), ([URL, "--seed", "-1"], "seed"), ([URL, "--web-port", "0"], "web-port"),
    ],
)  # fmt: skip
def test_senseless_options_are_refused_by_name(given: list[str], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(given)
    assert refused.value.field == field


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    assert parse([URL, "--out", str(tmp_path)]).out == tmp_path
    (tmp_path / "samples-users-1.jsonl").touch()
    with pytest.raises(InvalidInput, match="already"):
        parse([URL, "--out", str(tmp_path)])


def test_without_a_rate_the_loop_is_closed_and_has_one_user() -> None:
    options = parse([URL + "/"])
    assert (options.url, options.rates, options.users, options.page_port) == (URL, (), 1, None)
    assert options.scenario is Scenario.INTERACTIVE
    assert options.out.name.startswith("loadtest-")
    assert parse([URL, "--rates", "0.5,2"]).rates == (0.5, 2.0)
