from pathlib import Path

import faiss
import numpy as np
import pytest

from choreo.errors import InvalidArtifact, InvalidInput
from retrieval.indices.index import FlatIndex


def vectors(count: int = 20, dim: int = 6) -> np.ndarray:
    v = np.random.default_rng(0).standard_normal((count, dim)).astype(np.float32)
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def test_an_identical_vector_is_first_with_similarity_one() -> None:
    for row, found in enumerate(FlatIndex.build(vectors()).search(vectors(), 3)):
        assert found.rows[0] == row
        assert found.scores[0] == pytest.approx(1, abs=1e-6)
        assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("queries", [np.zeros((1, 5)), np.zeros((2, 7)), np.zeros(6), np.zeros((1, 1, 6))])
def test_another_dimension_is_a_typed_error(queries: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="queries"):
        FlatIndex.build(vectors()).search(queries, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_queries_and_vectors_must_be_finite(bad: float) -> None:
    broken = vectors()
    broken[3, 2] = bad
    with pytest.raises(InvalidInput, match="NaN"):
        FlatIndex.build(broken)
    with pytest.raises(InvalidInput, match="NaN"):
        FlatIndex.build(vectors()).search(broken, 1)


def test_k_beyond_the_size_gives_all_and_below_one_is_refused() -> None:
    index = FlatIndex.build(vectors(5))
    assert sorted(index.search(vectors(1), 100)[0].rows.tolist()) == [0, 1, 2, 3, 4]
    with pytest.raises(InvalidInput, match="k"):
        index.search(vectors(1), 0)


def test_an_empty_index_finds_nothing() -> None:
    found = FlatIndex.build(np.zeros((0, 6), np.float32)).search(vectors(2), 3)
    assert [len(f.rows) for f in found] == [0, 0]
    assert FlatIndex.build(vectors()).search(np.zeros((0, 6), np.float32), 3) == []


def test_it_comes_back_from_disk(tmp_path: Path) -> None:
    FlatIndex.build(vectors()).save(tmp_path / "i.faiss")
    index = FlatIndex.load(tmp_path / "i.faiss")
    assert (index.size, index.dim) == (20, 6)
    assert index.search(vectors(), 1)[7].rows.tolist() == [7]


@pytest.mark.parametrize("keep", [0, 3, 20, 100])
def test_a_cut_off_file_is_an_invalid_artifact(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "i.faiss"
    FlatIndex.build(vectors()).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InvalidArtifact, match=r"i\.faiss"):
        FlatIndex.load(path)


def test_a_missing_file_and_another_metric_are_invalid_artifacts(tmp_path: Path) -> None:
    with pytest.raises(InvalidArtifact):
        FlatIndex.load(tmp_path / "none.faiss")
    faiss.write_index(faiss.IndexFlatL2(6), str(tmp_path / "l2.faiss"))
    with pytest.raises(InvalidArtifact, match="inner-product"):
        FlatIndex.load(tmp_path / "l2.faiss")
