import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pose_results import write_results

from choreo.data.poses import results
from choreo.data.poses.results import read_results
from choreo.errors import InvalidInput


def person(frame: int | str = 0, x: float = 0.0, **fields: Any) -> dict[str, Any]:
    joints = (np.arange(87).reshape(29, 3) / 87 + [x, 0, 0]).tolist()
    return {"image_id": frame, "pred_xyz_jts": joints, "idx": 1, "score": 2.0, "box": [0, 0, 1, 1]} | fields


def test_reads_persons_in_order_of_their_images(tmp_path: Path) -> None:
    path = write_results(tmp_path / "r.json", [person("img_0012.jpg", 1), person("3.jpg", 2, idx=[[7]]), person(5, 3)])
    found = read_results(path)
    assert found.frames.tolist() == [3, 5, 12]
    assert found.ids.tolist() == [7, 1, 1]
    assert found.joints.shape == (3, 22, 3)
    np.testing.assert_allclose(found.joints[:, 0, 0], [2, 3, 1], atol=1e-6)
    assert "out of order" in found.notes[0]


def test_reads_the_file_of_a_folder_and_adds_translations(tmp_path: Path) -> None:
    write_results(tmp_path / "alphapose-results.json", [person(1, transl=[1, 2, 3]), person(2, transl=[4, 5, 6])])
    np.testing.assert_allclose(read_results(tmp_path).joints[1, 0] - read_results(tmp_path).joints[0, 0], 3, atol=1e-6)


def test_objects_are_read_across_pieces_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_results(tmp_path / "r.json", [person(i, i) for i in range(40)])
    monkeypatch.setattr(results, "_CHUNK", 777)
    monkeypatch.setattr(results, "MAX_OBJECT_CHARS", 8000)
    assert len(read_results(path)) == 40


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a JSON list"),
        ("{}", "not a JSON list"),
        ("[", "broken JSON"),
        ("[1]", "broken JSON"),
        ("[[[[", "broken JSON"),
        (json.dumps([person(0), person(1, 1)])[:-1], "broken JSON"),
        (json.dumps([person(0), person(1, 1)])[:-40], "broken JSON"),
        (json.dumps([person(0), person(1, 1)]) + "x", "follows the list"),
        ('[{"a": ' + "[" * 50000 + "]" * 50000 + "}]", "broken JSON"),
        ('[{"a": "' + "x" * 300000 + '"}]', "image_id"),
        ('[{"image_id": 1e, }]', "broken JSON"),
        ("[]", "no person"),
        (json.dumps([person(None)]), "image_id"),  # type: ignore[arg-type]
        (json.dumps([person("a.jpg")]), "image_id"),
        (json.dumps([person(0, pred_xyz_jts=[[1, 2, 3]] * 24)]), "29 joints"),
        (json.dumps([person(0, pred_xyz_jts="x")]), "must be numbers"),
        (json.dumps([person(0, pred_xyz_jts=[[1], [2, 3]])]), "must be numbers"),
        (json.dumps([{"image_id": 1, "keypoints": [0] * 51}]), "HybrIK"),
        (json.dumps([person(0, transl=[1])]), "three numbers"),
        (json.dumps([person(0), person(10**9, 1)]), "spans images"),
        (json.dumps([person(0), person(1)]), "same point"),
        (json.dumps([person(0, math.nan), person(1, math.inf)]), "no person .* NaN"),
    ],
)
def test_what_is_unusable_is_named(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(InvalidInput, match=reason):
        read_results(tmp_path / "r.json")


def test_persons_with_nan_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write_results(tmp_path / "r.json", [person(0), person(1, math.nan), person(2, 1.0), person(3, 1e300)])
    found = read_results(path)
    assert found.frames.tolist() == [0, 2]
    assert found.notes[0].startswith("2 persons")


def test_numbers_of_trackers_may_be_anything(tmp_path: Path) -> None:
    odd: list[Any] = [10**400, math.nan, math.inf, "x", None, [], [[3]], True, {"a": 1}, -5]
    path = write_results(tmp_path / "r.json", [person(i, i, idx=value, score=value) for i, value in enumerate(odd)])
    assert read_results(path).ids.tolist() == [-1, -1, -1, -1, -1, -1, 3, 1, -1, -5]


def test_no_file_binary_files_and_too_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="not a file"):
        read_results(tmp_path)
    (tmp_path / "b.json").write_bytes(b"[\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_results(tmp_path / "b.json")
    path = write_results(tmp_path / "r.json", [person(i, i) for i in range(20)])
    monkeypatch.setattr(results, "MAX_DETECTIONS", 10)
    with pytest.raises(InvalidInput, match="more than 10 persons"):
        read_results(path)
    monkeypatch.setattr(results, "MAX_BYTES", 10)
    with pytest.raises(InvalidInput, match="MiB"):
        read_results(path)
