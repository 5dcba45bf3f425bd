"""The table that compares generators."""

from choreo.evaluation.scorecard import Row
from choreo.shipped import shipped
from serving.evaluation.generators_table import picture, quality, renamed, weight


def row(subject: str, value: float, ci95: float | None = None) -> Row:
    return Row(metric="fid_k", subject=subject, value=value, ci95=ci95, n=640, note="")


ROWS = [row("gt", 1), row("generated", 2, 0.5), row("other", 3)]


def test_a_row_per_generator_with_intervals_after_real_motion() -> None:
    rows, name = renamed(ROWS, "unet")
    table = quality(rows, [name, "other"])
    assert table.head == ["generator", "fid_k (lower)"]
    assert table.rows == [["gt", "1"], ["unet", "2 ± 0.5"], ["other", "3"]]
    assert "fid_k" in picture(rows, [name, "other"])


def test_the_first_keeps_a_name_of_its_own() -> None:
    rows, name = renamed(ROWS, "other")
    assert name == "other (first)"
    assert [r["subject"] for r in rows] == ["gt", "other (first)", "other"]


def test_weights_are_counted() -> None:
    ((name, millions, megabytes),) = weight([("unet", shipped("weights", "unet-small"))]).rows
    assert name == "unet"
    assert float(millions) > 0
    assert float(megabytes) > 0
