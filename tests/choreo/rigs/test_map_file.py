"""The file in which users say which joint is which."""

from pathlib import Path

import pytest

from choreo.errors import InvalidInput
from choreo.rigs.map_file import read_map


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"left_knee": "Shin_L", "spine": ["Waist", "Chest"], "left_collar": null, "neck": "Hals"}'),
        ("a.yaml", "left_knee: Shin_L\nspine: [Waist, Chest]\nleft_collar: null\nneck: Hals\n"),
    ],
)
def test_json_and_yaml(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    wanted = {"left_knee": ("Shin_L",), "spine": ("Waist", "Chest"), "left_collar": (), "neck": ("Hals",)}
    assert dict(read_map(tmp_path / name).names) == wanted


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", "{", "is not JSON"),
        ("a.json", "[" * 60_000, "is not JSON"),
        ("a.yaml", "a: [", "is not YAML"),
        ("a.yaml", "!!python/object/apply:os.system [ls]", "is not YAML"),
        ("a.json", "[]", "must be an object"),
        ("a.json", '{"tail": "x"}', "names the part 'tail'"),
        ("a.yaml", "1: x", "names the part '1'"),
        ("a.json", '{"head": 3}', "must give head the name of one joint"),
        ("a.json", '{"head": ["a", "b"]}', "must give head the name of one joint"),
        ("a.json", '{"head": "' + "a" * 70_000 + '"}', "is larger than 64 KiB"),
        ("none.json", None, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput) as error:
        read_map(tmp_path / name)
    assert error.value.field == "map"
    assert says in error.value.message
