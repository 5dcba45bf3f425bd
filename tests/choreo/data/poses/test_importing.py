"""Known couples, damaged in each of the ways of real results and in all at once, and what comes back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pose_results import DAMAGE, Damaged, damaged, detections, measured, people, synthetic_couple, write_results
from tests_data import data_pack

from choreo.data.layouts.couples import Couples
from choreo.data.poses.importing import Imported, ImportOptions, import_results, track
from choreo.data.poses.tracklets import place_weights
from choreo.errors import InvalidInput
from choreo.motion.skeleton import PARENTS, PELVIS

WAYS: list[tuple[str, ...]] = [*((way,) for way in DAMAGE), DAMAGE]
COUPLE = synthetic_couple()


def imported(tmp_path: Path, given: Damaged, **options: Any) -> Imported:
    return import_results(write_results(tmp_path / "r.json", people(given)), ImportOptions(**options))


def whole(truth: NDArray[np.float64]) -> Damaged:
    return damaged(truth, ())


@pytest.mark.parametrize("ways", WAYS)
def test_a_damaged_couple_comes_back(ways: tuple[str, ...]) -> None:
    found = measured(COUPLE, ways, seed=3)
    assert found.right >= 0.98
    assert found.kept > 0.95
    assert found.repaired < 0.8 * found.without
    if {"missing", "one person"} & set(ways):
        assert found.in_gaps < 0.75 * found.gaps_without


@pytest.mark.parametrize("ways", WAYS)
def test_real_damaged_couples_come_back(ways: tuple[str, ...]) -> None:
    couples = Couples(data_pack() / "duets")
    if not couples.takes:
        pytest.skip("the data pack has no duets")
    for seed, take in enumerate(couples.takes[:4]):
        found = measured(couples.couple(take).positions.astype(np.float64), ways, seed)
        assert found.right >= 0.98
        assert found.kept > 0.95
        assert found.repaired < 0.8 * found.without


def test_a_whole_couple_keeps_size_floor_and_distance(tmp_path: Path) -> None:
    result = imported(tmp_path, whole(COUPLE))
    take = result.takes[""]
    p = take.positions.astype(np.float64)
    assert p.shape == COUPLE.shape
    apart = np.linalg.norm(p[0, :, PELVIS] - p[1, :, PELVIS], axis=-1)
    true = np.linalg.norm(COUPLE[0, :, PELVIS] - COUPLE[1, :, PELVIS], axis=-1)
    assert np.abs(apart - true).max() < 0.03
    assert result.document["metres_per_unit"] == 2.2
    assert abs(np.percentile(p[:, :, [10, 11], 1], 2)) < 0.01
    lengths = np.linalg.norm(p[:, :, 1:] - p[:, :, PARENTS[1:]], axis=-1)
    assert np.ptp(lengths, axis=1).max() < 1e-4
    assert result.document["filled"] == [0, 0]
    assert [row["with_all"] for row in result.seconds] == [row["frames"] for row in result.seconds]


@pytest.mark.parametrize("lean", [12.0, -20.0])
def test_a_camera_that_looks_down_is_levelled(tmp_path: Path, lean: float) -> None:
    c, s = np.cos(np.radians(lean)), np.sin(np.radians(lean))
    tilted = COUPLE @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    result = imported(tmp_path, whole(tilted))
    assert result.document["camera_lean_degrees"] == pytest.approx(abs(lean), abs=4)


def test_seconds_say_what_was_done(tmp_path: Path) -> None:
    given = whole(COUPLE)
    given.seen[:, 35:50] = False
    given.seen[1, 95:110] = False
    given.numbers[:, 200:] = given.numbers[::-1, 200:]
    rows = imported(tmp_path, given).seconds
    assert rows[1]["with_none"] == 15
    assert rows[1]["filled"] == [15, 15]
    assert rows[3]["with_one"] == 15
    assert sorted(rows[3]["filled"]) == [0, 15]
    assert [row["number_changes"] for row in rows if row["number_changes"]] == [2]
    assert rows[6]["number_changes"] == 2


def test_a_longer_gap_cuts_the_take(tmp_path: Path) -> None:
    given = whole(COUPLE)
    given.seen[0, 150:200] = False
    result = imported(tmp_path, given)
    assert [take.num_frames for take in result.takes.values()] == [150, 160]
    assert list(result.takes) == ["_s0", "_s1"]


def test_images_out_of_order_and_at_another_rate(tmp_path: Path) -> None:
    persons = people(whole(COUPLE[:, ::2]), first=500)
    np.random.default_rng(0).shuffle(persons)
    result = import_results(write_results(tmp_path / "r.json", persons), ImportOptions(fps=15))
    assert result.takes[""].num_frames == COUPLE.shape[1] - 1
    assert any("out of order" in note for note in result.document["notes"])


def test_forty_people_of_whom_two_stay(tmp_path: Path) -> None:
    persons = people(whole(COUPLE[:, :90]))
    rng = np.random.default_rng(1)
    for k in range(38):
        other = people(whole(COUPLE[:, :90] + rng.uniform(3, 30, 3) * (1, 0, 1)))[k % 2 :: 2]
        start = int(rng.integers(0, 60))
        persons += [p | {"idx": 10 + k, "score": 1.0} for p in other[start : start + 30]]
    result = import_results(write_results(tmp_path / "r.json", persons))
    assert result.document["most_in_one_frame"] > 10
    p = result.takes[""].positions
    apart = np.linalg.norm(p[0, :, PELVIS] - p[1, :, PELVIS], axis=-1)
    assert p.shape[1] == 90
    np.testing.assert_allclose(apart, np.linalg.norm(COUPLE[0, :90, 0] - COUPLE[1, :90, 0], axis=-1), atol=0.03)
    assert result.document["bystanders"] == 38 * 30


def test_a_camera_that_does_not_know_the_depth() -> None:
    rng = np.random.default_rng(5)
    found, who = detections(whole(COUPLE))
    noisy = replace(found, joints=found.joints + rng.normal(size=(len(found), 1, 1)) * np.array([0, 0, 0.1]))
    weights = place_weights(noisy)
    assert weights[2] < 0.5 < 0.8 < weights[:2].min()
    tracks = track(noisy, ImportOptions(up="-y", metres_per_unit=1.0))
    right = [(who[row[row >= 0]] == who[row[0]]).sum() for row in tracks.owned]
    assert sum(right) >= 0.98 * len(found)


def test_a_person_found_twice_counts_once() -> None:
    found, _ = detections(whole(COUPLE))
    double = found.of(np.sort(np.concatenate([np.arange(len(found)), np.arange(0, len(found), 5)])))
    tracks = track(double, ImportOptions(up="-y", metres_per_unit=1.0))
    assert tracks.facts["found_twice"] == len(range(0, len(found), 5))
    assert (tracks.owned >= 0).all()


def test_one_person_throughout_is_told_so_and_can_be_a_solo(tmp_path: Path) -> None:
    given = whole(COUPLE)
    given.seen[1] = False
    with pytest.raises(InvalidInput, match="--people 1"):
        imported(tmp_path, given)
    take = imported(tmp_path, given, people=1).takes[""]
    assert len(take.dancers) == 1
    assert take.num_frames == COUPLE.shape[1]


def test_too_short_results_and_options_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="never shows both dancers for"):
        imported(tmp_path, whole(COUPLE[:, :6]))
    for options in ({"people": 3}, {"fps": 0}, {"up": "w"}, {"metres_per_unit": float("nan")}):
        with pytest.raises(InvalidInput):
            ImportOptions(**options)  # type: ignore[arg-type]


def test_random_persons_are_refused_or_imported_but_never_crash(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for trial in range(8):
        persons = [
            {
                "image_id": int(rng.integers(40)),
                "pred_xyz_jts": (rng.normal(size=(29, 3)) * 10.0 ** (trial - 4)).tolist(),
            }
            for _ in range(120)
        ]
        try:
            result = import_results(write_results(tmp_path / "r.json", persons))
        except InvalidInput:
            continue
        assert all(np.isfinite(take.positions).all() for take in result.takes.values())
