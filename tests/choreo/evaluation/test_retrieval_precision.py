"""R-precision, MM-Dist, R@k."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.evaluation.retrieval_precision import _pools, r_precision, recall_at


def cloud(n: int, seed: int = 0, dim: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim))


def test_perfect_chance_and_collapse() -> None:
    text = cloud(640)
    perfect = r_precision(text, text)
    assert perfect is not None
    assert (perfect.top, perfect.mm_distance, perfect.pools, perfect.n) == ((1, 1, 1), 0, 20, 640)
    chance = r_precision(text, cloud(640, seed=1))
    assert chance is not None
    np.testing.assert_allclose(chance.top, [1 / 32, 2 / 32, 3 / 32], atol=0.03)
    collapsed = r_precision(text, np.ones_like(text))
    assert collapsed is not None
    assert collapsed.top == (0, 0, 0)


def test_the_distance_is_euclidean_and_the_leftover_is_not_ranked() -> None:
    text = np.repeat(np.arange(1.0, 71)[:, None], 2, axis=1)  # one direction, many lengths
    found = r_precision(text, text + 0.1)
    assert found is not None
    assert (found.top[0], found.pools, found.n) == (1, 2, 64)
    assert found.mm_distance == pytest.approx(0.1 * np.sqrt(2))


def test_a_pool_never_holds_a_caption_twice() -> None:
    captions = [f"Caption {i % 40}" if i % 3 else f"caption  {i % 40}" for i in range(1000)]
    pools = _pools(1000, captions, 32, np.random.default_rng(0))
    assert len(pools) > 25
    rows = np.concatenate(pools)
    assert len(set(rows)) == len(rows)
    for pool in pools:
        assert len({captions[i].lower().split()[1] for i in pool}) == 32


def test_equal_captions_do_not_make_a_right_answer_wrong() -> None:
    text = np.repeat(cloud(64), 4, axis=0)
    captions = [f"{i // 4}" for i in range(256)]
    found = r_precision(text, text, captions)
    assert found is not None
    assert found.top[0] == 1
    assert r_precision(text, text, ["same"] * 256) is None
    naive = r_precision(text, text)
    assert naive is not None
    assert naive.top[0] < 1


def test_recall_over_the_whole_set_in_both_directions() -> None:
    text = cloud(100)
    assert recall_at(text, 3 * text) == ((1,) * 5, (1,) * 5)  # cosine: lengths do not matter
    (one, two), _ = recall_at(text, np.roll(text, 1, axis=0), tops=(1, 100))
    assert (one, two) == (0, 1)


def test_texts_that_mean_the_same_are_right_too() -> None:
    text, twins = cloud(50), np.repeat(cloud(25, seed=1), 2, axis=0)
    swapped = text.reshape(25, 2, 16)[:, ::-1].reshape(50, 16)
    assert recall_at(text, swapped, tops=(1,))[0] == (0,)
    assert recall_at(text, swapped, tops=(1,), sentences=twins) == ((1,), (1,))


def test_broken_pairs_are_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        r_precision(cloud(40), cloud(41))
    assert caught.value.field == "motion"
    with pytest.raises(InvalidInput) as caught:
        r_precision(cloud(40), cloud(40), ["one"])
    assert caught.value.field == "captions"
    with pytest.raises(InvalidInput):
        recall_at(cloud(4), cloud(4), sentences=cloud(5))
    with pytest.raises(InvalidInput):
        r_precision(cloud(0), cloud(0))
    with pytest.raises(InvalidInput):
        r_precision(cloud(9), cloud(9), pool=1)
