import numpy as np
import pytest

from bench.reranker_fit import Candidates, fit, joined
from bench.retrieval_quality import calibration_error


def candidates(coefficients: tuple[float, ...], questions: int = 60, seed: int = 0) -> Candidates:
    """Candidates that are relevant with a known probability."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(50 * questions, len(coefficients)))
    chance = 1 / (1 + np.exp(-(x @ coefficients - 1)))
    return Candidates(x, rng.random(len(x)) < chance, np.repeat(np.arange(questions), 50))


def test_a_fit_recovers_what_made_the_labels_on_a_calibrated_scale() -> None:
    data, fresh = candidates((3.0, 1.0), 200), candidates((3.0, 1.0), seed=1)
    scorer = fit(data)
    assert scorer.coefficients == pytest.approx((3, 1), abs=0.2)
    assert scorer.intercept == pytest.approx(-1, abs=0.1)
    assert calibration_error(scorer(fresh.features), fresh.right) < 0.03


def test_no_coefficient_is_negative_however_the_labels_fall() -> None:
    assert fit(candidates((2.0, -1.0))).coefficients[1] == 0


def test_questions_stay_apart_when_joined() -> None:
    both = joined([candidates((1.0,), 3), candidates((1.0,), 2)])
    assert sorted(set(both.question.tolist())) == [0, 1, 2, 3, 4]
    assert len(both.of([3, 4]).right) == 100


def test_calibration_error_is_zero_for_the_right_share_and_the_gap_for_another() -> None:
    right = np.arange(100) < 30
    assert calibration_error(np.full(100, 0.3), right) == pytest.approx(0)
    assert calibration_error(np.full(100, 0.8), right) == pytest.approx(0.5)
