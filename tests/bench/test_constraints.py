"""The benchmark of constraints: its rows, and the measures on motion whose answer is known."""

import json

import numpy as np
import pytest
from tiny_training import clips

from bench.constraints import CASES, Danced, border, error, jump, main, seam
from choreo.generators.constraints import Constraints, KeyPose
from choreo.generators.given_frames import given_frames

DANCE = clips()[0].positions()[:180]
GIVEN = given_frames(None, Constraints(key_poses=(KeyPose(90, DANCE[90], ""),)), 180, 30)


def test_every_case_keeps_to_what_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--json"]) == 0
    rows = {(row["case"], row["metric"]): row["value"] for row in json.loads(capsys.readouterr().out)["rows"]}
    for case in CASES:
        assert rows[case.name, "error after finishing, max"] < 1.0, case.name  # centimetres


def test_errors_are_distances_to_what_was_given() -> None:
    assert error(GIVEN, DANCE).max() < 1e-9
    np.testing.assert_allclose(error(GIVEN, DANCE + np.array([0.03, 0, 0.04])), 0.05)
    loop = given_frames(None, Constraints(loop=True), 180, 30)
    np.testing.assert_allclose(error(loop, DANCE), np.linalg.norm(DANCE[0] - DANCE[-1], axis=-1))


def test_a_pose_that_is_elsewhere_is_a_jump_and_a_seam() -> None:
    borders = border(GIVEN)
    assert list(np.flatnonzero(borders)) == [89, 90]
    broken = DANCE.copy()
    broken[90, 20] += (0, 0.5, 0)
    calm, torn = (jump(Danced(GIVEN, motion, motion), borders) for motion in (DANCE, broken))
    assert torn[0] > calm[0] + 0.01
    assert torn[1] == pytest.approx(calm[1])
    assert seam(DANCE, borders, 1) < 1.5
    assert seam(broken, borders, 1) > 3
    assert seam(broken, borders, 2) > seam(broken, borders, 1)
