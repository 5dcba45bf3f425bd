from pathlib import Path

import pytest

from choreo.errors import InvalidInput
from serving.cli.given_json import given_json


def test_a_file_of_constraints(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{"loop": true}')
    assert given_json("constraints", path) == {"loop": True}
    assert given_json("constraints", None) is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}', b" " * ((1 << 20) + 1)])
def test_files_that_hold_none_are_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        given_json("constraints", path)
    assert caught.value.field == "constraints"
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(InvalidInput, match="cannot be read"):
            given_json("segments", path)
