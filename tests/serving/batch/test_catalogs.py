"""Every kind of catalog: what is read, and which line and field a fault is of."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from choreo.errors import InvalidInput
from serving.batch.catalog import MAX_LINE_BYTES, CatalogRow, open_catalog
from serving.batch.survey import survey

ROW = b'{"custom_id": "a", "body": {"text_prompt": "x"}}\n'


def rows(path: Path | str) -> list[CatalogRow]:
    return list(open_catalog(str(path)).rows())


def refused(path: Path | str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        survey(open_catalog(str(path)))
    return caught.value


def table(path: Path, *lines: list[str]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return path


def test_jsonl_rows_have_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + ROW + b"\n" + '{"custom_id": "ü b", "body": {}, "method": "POST"}'.encode())
    assert rows(path) == [
        CatalogRow(0, 1, "a", {"text_prompt": "x"}),
        CatalogRow(1, 3, "ü b", {}),
    ]
    found = survey(open_catalog(str(path)))
    assert (found.items, len(found.digest)) == (2, 64)


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        (b"", "catalog", "no items"),
        (ROW + b"nonsense\n", "catalog line 2", "not valid JSON"),
        (ROW + b"[1]\n", "catalog line 2", "must be an object"),
        (ROW + b'{"custom_id": "\xff", "body": {}}\n', "catalog line 2", "not UTF-8 at byte 16"),
        (ROW + b'{"custom_id": "b", "body": {"seed": NaN}}\n', "catalog line 2", "NaN"),
        (ROW + b'{"custom_id": "b", "body": {"seed": 1, "seed": 2}}\n', "catalog line 2, seed", "more than once"),
        (ROW + b'{"custom_id": "b", "body": []}\n', "catalog line 2, body", "must be an object"),
        (ROW + b'{"custom_id": "b"}\n', "catalog line 2, body", "must be an object"),
        (ROW + b'{"body": {}}\n', "catalog line 2, custom_id", "must be a string"),
        (ROW + b'{"custom_id": 7, "body": {}}\n', "catalog line 2, custom_id", "got int"),
        (ROW + b'{"custom_id": "", "body": {}}\n', "catalog line 2, custom_id", "1 to 256"),
        (ROW + b'{"custom_id": "a\\u0000", "body": {}}\n', "catalog line 2, custom_id", "printable"),
        (ROW + b'{"custom_id": "\\ud800", "body": {}}\n', "catalog line 2, custom_id", "printable"),
        (ROW + b'{"custom_id": "b", "body": {}, "more": 1}\n', "catalog line 2, more", "not a member"),
        (ROW + b'{"custom_id": "b", "body": {}, "url": "/v1/x"}\n', "catalog line 2, url", "must be '/v1/generate'"),
        (ROW + b"\n" + ROW, "catalog line 3, custom_id", "'a' is the id of line 1 as well"),
        (ROW + b" " * MAX_LINE_BYTES + b"\n", "catalog line 2", "longer than 1 MiB"),
        (ROW + b"[" * 100_000 + b"\n", "catalog line 2", "not valid JSON"),
    ],
)
def test_broken_jsonl_is_refused_by_line(data: bytes, field: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(data)
    error = refused(path)
    assert error.field == field
    assert message in error.message


def test_csv_cells_are_what_their_fields_are(tmp_path: Path) -> None:
    path = table(
        tmp_path / "c.csv",
        ["custom_id", "text_prompt", "duration", "seed", "use_rag", "audio"],
        ["1", "two\nlines", "2.5", "7", "false", ""],
        ["2", "", "", "", "", "songs/a.wav"],
        ["3", "x", "soon", "", "", ""],
    )
    first, second, third = rows(path)
    assert first.body == {"text_prompt": "two\nlines", "duration": 2.5, "seed": 7, "use_rag": False}
    assert (first.line, second.line, third.line) == (2, 4, 5)
    assert second.body == {"audio": "songs/a.wav"}
    assert third.fault is not None
    assert third.fault.field == "duration"


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ([["custom_id", "prompt"], ["1", "x"]], "catalog column 'prompt'"),
        ([["text_prompt"], ["x"]], "catalog column 'custom_id'"),
        ([["custom_id", "seed", "seed"], ["1", "2", "3"]], "catalog column 'seed'"),
        ([["custom_id", "seed"], ["1"]], "catalog line 2"),
        ([["custom_id", "seed"], ["1", "2"], ["", "2"]], "catalog line 3, custom_id"),
        ([["custom_id", "seed"], ["1", "2"], ["1", "3"]], "catalog line 3, custom_id"),
        ([["custom_id", "text_prompt"], ["1", "x\n" * (MAX_LINE_BYTES // 2)]], "catalog line 2"),
    ],
)
def test_broken_csv_is_refused(lines: list[list[str]], field: str, tmp_path: Path) -> None:
    assert refused(table(tmp_path / "c.csv", *lines)).field == field


def test_an_open_quote_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text('custom_id,text_prompt\n1,"never ends\n2,x\n')
    assert refused(path).field == "catalog line 2"


def test_parquet_nulls_are_not_given_and_whole_numbers_stay_whole(tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "custom_id": ["a", "b"],
        "text_prompt": ["x", None],
        "seed": pa.array([1.0, None], pa.float64()),
        "audio": [None, "s.wav"],
    }
    parquet.write_table(pa.table(columns), tmp_path / "c.parquet")
    assert [row.body for row in rows(tmp_path / "c.parquet")] == [{"text_prompt": "x", "seed": 1}, {"audio": "s.wav"}]


def test_beats_are_a_list_in_every_kind_of_catalog(tmp_path: Path) -> None:
    body = {"audio": "a.wav", "beats": [0.0, 0.5, 1.25], "bpm": 110.0, "half_time": True}
    (tmp_path / "c.jsonl").write_text(json.dumps({"custom_id": "a", "body": body}))
    header = ["custom_id", "audio", "beats", "bpm", "half_time"]
    table(tmp_path / "c.csv", header, ["a", "a.wav", "0,0.5, 1.25", "110", "true"], ["b", "b.wav", "0,x", "", ""])
    parquet.write_table(
        pa.table({"custom_id": ["a"], **{name: [value] for name, value in body.items()}}), tmp_path / "c.parquet"
    )
    (jsonl,), (csv_row, faulty), (parquet_row,) = (rows(tmp_path / f"c.{kind}") for kind in ("jsonl", "csv", "parquet"))
    assert jsonl.body == csv_row.body == parquet_row.body == body
    assert faulty.fault is not None
    assert faulty.fault.field == "beats.1"


def test_broken_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    path.write_bytes(b"PAR1 nothing PAR1")
    assert refused(path).field == "catalog"
    parquet.write_table(pa.table({"custom_id": ["a"], "tempo": [1]}), path)
    assert refused(path).field == "catalog column 'tempo'"


def test_folders_globs_and_songs(tmp_path: Path) -> None:
    for name in ("b.wav", "a.MP3", "same.ogg", "same.flac", "deep/a.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    ids = {row.custom_id: row.body["audio"] for row in rows(tmp_path)}
    assert ids == {
        "a": "a.MP3", "b": "b.wav", "deep/a": "deep/a.wav", "same.flac": "same.flac", "same.ogg": "same.ogg"
    }  # fmt: skip
    assert [row.custom_id for row in rows(tmp_path / "*.wav")] == ["b"]
    assert [row.custom_id for row in rows(tmp_path / "**/*.wav")] == ["b", "deep/a"]
    assert [row.custom_id for row in rows(tmp_path / "b.wav")] == ["b"]
    before = open_catalog(str(tmp_path)).digest()
    (tmp_path / "b.wav").write_bytes(b"longer")
    assert open_catalog(str(tmp_path)).digest() != before


@pytest.mark.parametrize("name", ["none.jsonl", "*.wav", "empty", "c.xlsx", "memory://none/c.jsonl", "nope://x/c.csv"])
def test_what_is_no_catalog_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "c.xlsx").touch()
    assert refused(name if "://" in name else tmp_path / name).field == "catalog"


def test_remote_catalogs_know_their_folder() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/catalogs/c.jsonl", ROW)
    catalog = open_catalog("memory://catalogs/c.jsonl")
    assert catalog.base == "memory:///catalogs"
    assert [row.custom_id for row in catalog.rows()] == ["a"]
