import numpy as np
import pytest
from dataset_files import dance

from choreo.motion.units import UNITS, leg_length, metres_per_unit


@pytest.mark.parametrize("unit", UNITS)
def test_units_are_told_from_the_legs(unit: float) -> None:
    assert metres_per_unit(dance() / unit) == pytest.approx(unit)


def test_a_child_in_centimetres_is_no_giant_in_inches() -> None:
    assert metres_per_unit(dance() * 100 * 0.6) == 0.01


def test_what_was_scaled_gets_canonical_legs() -> None:
    for scale in (1e6, 3e-4):
        assert leg_length(dance() * scale * metres_per_unit(dance() * scale)) == pytest.approx(0.83, abs=0.005)


def test_what_has_no_legs_is_in_centimetres() -> None:
    assert leg_length(np.zeros((3, 22, 3))) == 0
    assert metres_per_unit(np.zeros((3, 22, 3))) == 0.01
