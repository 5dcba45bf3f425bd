"""What a user without an extra is told."""

import pytest
from typer.testing import CliRunner

from choreo.errors import MissingDependency
from serving.cli import doctor, extras
from serving.cli.extras import how_to_install, require
from serving.cli.main import app


def test_what_is_missing_is_named_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "installed", lambda module: module not in ("ray", "uvicorn"))
    require("cpu", "train", "loadtest")
    with pytest.raises(MissingDependency, match=r"^not installed: ray, uvicorn; pip install 'choreo\[serve\]'$"):
        require("cpu", "serve")


def test_doctor_shows_extras_and_long_paths_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    state = "/long" * 30
    checks = [doctor.Check("ray", False, state, how_to_install("serve"), required=False)]
    monkeypatch.setattr(doctor, "examine", lambda settings: checks)
    shown = CliRunner().invoke(app, ["doctor"])
    assert shown.exit_code == 0
    cells = [[cell.strip() for cell in line.split("│")] for line in shown.output.splitlines() if "│" in line]
    assert "".join(cell[3] for cell in cells) == state
    assert " ".join(cell[4] for cell in cells).split() == ["pip", "install", "'choreo[serve]'"]
