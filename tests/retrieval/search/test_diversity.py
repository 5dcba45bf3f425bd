from dataclasses import replace

import numpy as np
import pytest
from synthetic_phrases import phrase

from retrieval.library.embedding import EmbeddingConfig, QueryEmbedder
from retrieval.library.phrases import STATS
from retrieval.search.diversity import diversified, similarities

EMBEDDER = QueryEmbedder(EmbeddingConfig("words", 8))


def moving(source: str, value: float) -> object:
    return replace(phrase(), source=source, stats=(value,) + (1.0,) * (len(STATS) - 1))


def test_no_variety_is_the_order_of_scores_with_ties_by_position() -> None:
    assert diversified(np.array([0.2, 0.9, 0.9, 0.5]), np.ones((4, 4)), 3, 0) == [1, 2, 3]


def test_golden_order() -> None:
    alike = np.array([[1, 0.9, 0.1], [0.9, 1, 0.1], [0.1, 0.1, 1]])
    scores = np.array([0.9, 0.8, 0.5])
    assert diversified(scores, alike, 3, 0.3) == [0, 2, 1]  # .7 * .8 - .3 * .9 = .29 < .7 * .5 - .3 * .1 = .32
    assert diversified(scores, alike, 3, 0.1) == [0, 1, 2]
    assert diversified(scores, alike, 2, 1.0) == [0, 2]


@pytest.mark.parametrize("variety", [0, 0.3, 1])
@pytest.mark.parametrize("count", [1, 5, 50])
def test_every_candidate_comes_at_most_once(variety: float, count: int) -> None:
    rng = np.random.default_rng(0)
    order = diversified(rng.random(9), rng.random((9, 9)), count, variety)
    assert len(order) == len(set(order)) == min(count, 9)


def test_one_recording_is_alike_and_unknown_ones_are_not() -> None:
    found = similarities(
        [moving("a", 9.0), moving("a", -9.0), moving("b", 9.0), moving("", -9.0), moving("", 9.0)], EMBEDDER
    )
    assert found[0, 1] == 1
    assert found[0, 2] == pytest.approx(1, abs=1e-6)  # another recording of the same motion
    assert found[1, 2] < 1
    assert found[3, 4] < 1
    assert np.allclose(found, found.T)
    assert np.allclose(np.diag(found), 1)
    assert ((found >= 0) & (found <= 1)).all()
