"""Couples of a data set: read into one frame, divided by performance, and made where there are none."""

from pathlib import Path

import numpy as np
import pytest
from small_duet import couples
from tests_data import data_pack

from choreo.data.couple import Couple
from choreo.data.couples import made_couples, mirror_partner, read_couples
from choreo.data.layouts.couples import couples_arrays
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.kinematics import heading
from choreo.motion.performance import Performance
from choreo.motion.retarget import is_canonical


def write(path: Path, takes: dict[str, np.ndarray]) -> None:
    performances = {
        name: Performance(tuple(Motion(d.astype(np.float32)) for d in both)) for name, both in takes.items()
    }
    np.savez(path, **couples_arrays(performances))


def test_archives_for_tests_are_a_part_of_their_own(tmp_path: Path) -> None:
    both = couples()[0].dancers
    write(tmp_path / "cmu_a.npz", {f"salsa_{i}": both for i in range(4)})
    write(tmp_path / "cmu_a_test.npz", {"salsa_9": both})
    found = read_couples(tmp_path)
    keys = {part: {couple.key for couple in some} for part, some in found.parts.items()}
    assert keys["test"] == {"salsa_9"}
    assert keys["train"]
    assert keys["val"]
    assert not keys["train"] & keys["val"]
    assert {couple.licence for some in found.parts.values() for couple in some} == {"cmu-mocap"}


def test_stretches_of_a_performance_stay_together(tmp_path: Path) -> None:
    both = couples()[0].dancers
    write(tmp_path / "own.npz", {f"dance_{i}_s{j}": both for i in range(4) for j in range(2)})
    groups = [{couple.group for couple in some} for some in read_couples(tmp_path).parts.values()]
    assert not groups[0] & groups[1]


def test_a_couple_keeps_its_distance_on_the_canonical_skeleton(tmp_path: Path) -> None:
    both = couples()[0].dancers * np.array([1.08, 1.0])[:, None, None, None]
    write(tmp_path / "own.npz", {"tall_1": both, "tall_2": both})
    couple = next(c for some in read_couples(tmp_path).parts.values() for c in some)
    assert all(is_canonical(dancer) for dancer in couple.dancers)

    def distance(p: np.ndarray) -> np.ndarray:
        return np.linalg.norm((p[0] - p[1])[:, 0][:, [0, 2]], axis=-1)

    assert np.abs(distance(couple.dancers) - distance(both)).mean() < 0.03


def test_a_folder_without_couples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no archive of couples"):
        read_couples(tmp_path)


def test_a_couple_must_be_two_dancers() -> None:
    with pytest.raises(InvalidInput, match="shape"):
        Couple("x", "x", np.zeros((3, 5, 22, 3)), "own")
    with pytest.raises(InvalidInput, match="NaN"):
        Couple("x", "x", np.full((2, 5, 22, 3), np.nan), "own")


def test_a_mirror_partner_faces_the_dancer_and_is_a_body() -> None:
    lead = made_couples(1, seconds=2.0)[0].dancers[0]
    partner = mirror_partner(lead, 0.8)
    assert is_canonical(partner)
    turned = np.exp(1j * (heading(partner[:1]) - heading(lead[:1])))
    np.testing.assert_allclose(turned, -1, atol=1e-6)
    assert np.linalg.norm((partner - lead)[0, 0]) == pytest.approx(0.8)


@pytest.mark.data
def test_the_pack_has_salsa_couples_whose_hands_meet() -> None:
    found = read_couples(data_pack())
    assert {part: len(some) for part, some in found.parts.items()} == {"train": 7, "val": 1, "test": 6}
    medians = []
    for couple in found.parts["test"]:
        wrists = couple.dancers[:, :, [20, 21]]
        nearest = np.linalg.norm(wrists[0][:, :, None] - wrists[1][:, None], axis=-1).min(axis=(1, 2))
        medians.append(float(np.median(nearest)))
    assert 0.1 < np.median(medians) < 0.35
