import json
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.errors import InvalidArtifact, InvalidInput
from retrieval.indices import device as devices
from retrieval.indices.index import FlatIndex, IndexInfo, VectorIndex, build_index, load_index
from retrieval.indices.ivf import lists
from retrieval.indices.recall import QUERIES, TIE, Parts, QuerySet, efforts, least_effort, query_sets

PARTS = (12, 6, 4)
COUNT = 3000
KINDS = ("flat", "ivf")


def embeddings(count: int = COUNT, seed: int = 0) -> np.ndarray:
    """Three parts of unit length side by side, each around some centres; every text ten times; a third lacks music."""
    rng = np.random.default_rng(seed)
    out = []
    for size, weight in zip(PARTS, (0.5, 0.35, 0.15), strict=True):
        centres = np.random.default_rng(99).standard_normal((40, size))
        part = centres[rng.integers(0, 40, count)] + 0.3 * rng.standard_normal((count, size))
        out.append(np.sqrt(weight) * part / np.linalg.norm(part, axis=1, keepdims=True))
    out[0] = np.repeat(out[0][: -(-count // 10)], 10, axis=0)[:count]
    out[1][rng.random(count) < 0.3] = 0
    return np.concatenate(out, axis=1).astype(np.float32)


VECTORS = embeddings()


@pytest.fixture(scope="module")
def indices() -> dict[str, VectorIndex]:
    return {kind: build_index(VECTORS, kind, PARTS) for kind in KINDS}


@pytest.fixture(params=KINDS)
def index(request: pytest.FixtureRequest, indices: dict[str, VectorIndex]) -> VectorIndex:
    return indices[request.param]


def truth(queries: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    scores = queries @ VECTORS.T
    return scores if allowed is None else np.where(allowed, scores, -np.inf)


def only(part: int, queries: np.ndarray) -> np.ndarray:
    out = np.zeros_like(queries)
    columns = Parts(PARTS).slices()[part]
    out[:, columns] = queries[:, columns]
    return out


@pytest.mark.parametrize("lacking", [None, 0, 1, 2])
def test_what_exact_search_finds_is_found(index: VectorIndex, lacking: int | None) -> None:
    queries = embeddings(60, seed=5)
    queries = queries[queries[:, PARTS[0] : PARTS[0] + PARTS[1]].any(1)]
    queries = queries if lacking is None else only(lacking, queries)
    tenth = np.sort(truth(queries), axis=1)[:, -10]
    found = index.search(queries, 10)
    good = [truth(q[None])[0][f.rows] >= t - 1e-4 for q, f, t in zip(queries, found, tenth, strict=True)]
    assert np.mean(good) >= 0.98
    for neighbours in found:
        assert len(set(neighbours.rows.tolist())) == 10
        assert (np.diff(neighbours.scores) <= 0).all()


def test_scores_are_inner_products(index: VectorIndex) -> None:
    queries = VECTORS[:5]
    for query, found in zip(queries, index.search(queries, 20), strict=True):
        assert found.scores == pytest.approx(VECTORS[found.rows] @ query, abs=1e-3)


@given(share=st.sampled_from([0.0, 0.0005, 0.01, 0.3, 0.95, 1.0]), k=st.integers(1, 400), seed=st.integers(0, 50))
@settings(deadline=None, max_examples=25)
def test_a_filtered_search_finds_k_where_there_are_k(
    indices: dict[str, VectorIndex], share: float, k: int, seed: int
) -> None:
    allowed = np.random.default_rng(seed).random(COUNT) < share
    queries = embeddings(4, seed=seed + 1)
    for index in indices.values():
        for found in index.search(queries, k, allowed):
            assert len(found.rows) == min(k, allowed.sum())
            assert allowed[found.rows].all()
            assert len(set(found.rows.tolist())) == len(found.rows)


def test_a_selective_filter_is_searched_exactly(index: VectorIndex) -> None:
    allowed = np.zeros(COUNT, np.bool_)
    allowed[np.random.default_rng(3).choice(COUNT, 25, replace=False)] = True
    queries = embeddings(8, seed=9)
    for found, scores in zip(index.search(queries, 5, allowed), truth(queries, allowed), strict=True):
        assert scores[found.rows] == pytest.approx(np.sort(scores)[::-1][:5], abs=1e-3)


def test_k_beyond_the_size_gives_all(index: VectorIndex) -> None:
    assert [len(found.rows) for found in index.search(VECTORS[:2], 10 * COUNT)] == [COUNT, COUNT]


def test_a_query_of_zeros_finds_nothing_and_the_others_what_they_would_alone(index: VectorIndex) -> None:
    queries = VECTORS[:3].copy()
    queries[1] = 0
    found = index.search(queries, 4)
    assert [len(f.rows) for f in found] == [4, 0, 4]
    assert found[2].scores == pytest.approx(index.search(queries[2:], 4)[0].scores, abs=1e-5)


@pytest.mark.parametrize(
    ("queries", "allowed", "field"),
    [
        (np.zeros((1, 5)), None, "queries"),
        (np.full((1, sum(PARTS)), np.nan), None, "queries"),
        (VECTORS[:1], np.ones(3, np.bool_), "allowed"),
        (VECTORS[:1], np.ones(COUNT), "allowed"),
    ],
)
def test_senseless_input_is_refused(
    index: VectorIndex, queries: np.ndarray, allowed: np.ndarray | None, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        index.search(queries, 3, allowed)
    assert caught.value.field == field


def test_it_comes_back_from_disk_with_what_was_tuned(index: VectorIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "i.faiss")
    info = IndexInfo.from_json(json.loads(json.dumps(index.info.to_json())))
    assert info == index.info
    loaded = load_index(tmp_path / "i.faiss", info.kind, info.parameters)
    assert (loaded.kind, loaded.dim, loaded.size) == (index.kind, sum(PARTS), COUNT)
    for one, other in zip(index.search(VECTORS[:9], 10), loaded.search(VECTORS[:9], 10), strict=True):
        assert one.rows.tolist() == other.rows.tolist()


@pytest.mark.parametrize("keep", [0, 3, 20, 100, 0.3, 0.9, 0.999])
def test_a_cut_off_file_is_an_invalid_artifact(index: VectorIndex, tmp_path: Path, keep: float) -> None:
    path = tmp_path / "i.faiss"
    index.save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(InvalidArtifact, match=r"i\.faiss"):
        load_index(path, index.kind, index.info.parameters)


def test_another_kind_metric_or_name_is_an_invalid_artifact(indices: dict[str, VectorIndex], tmp_path: Path) -> None:
    for kind, index in indices.items():
        index.save(tmp_path / kind)
        for other in set(KINDS) - {kind}:
            with pytest.raises(InvalidArtifact, match=other):
                load_index(tmp_path / kind, other, indices[other].info.parameters)
    for unknown in ("annoy", "hnsw"):
        with pytest.raises(InvalidArtifact, match=f"{unknown}.*build the library again"):
            load_index(tmp_path / "flat", unknown)
    half = faiss.ScalarQuantizer.QT_fp16
    by_distance = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatL2(22), 22, 4, half, faiss.METRIC_L2)
    by_distance.train(VECTORS)
    faiss.write_index(by_distance, str(tmp_path / "l2"))
    with pytest.raises(InvalidArtifact, match="inner-product"):
        load_index(tmp_path / "l2", "ivf", indices["ivf"].info.parameters)


@pytest.mark.parametrize(
    "change",
    [{"parts": [12, 6]}, {"parts": "many"}, {"parts": []}, {"nprobe": {}}, {"nprobe": 3}, {"nprobe": {"0": 0}},
     {"nprobe": {"x": 1}}],
)  # fmt: skip
def test_parameters_that_make_no_sense_are_an_invalid_artifact(
    indices: dict[str, VectorIndex], tmp_path: Path, change: dict
) -> None:
    indices["ivf"].save(tmp_path / "i.faiss")
    with pytest.raises(InvalidArtifact, match="ivf"):
        load_index(tmp_path / "i.faiss", "ivf", indices["ivf"].info.parameters | change)


@pytest.mark.parametrize(
    "change", [{"metric": "l2"}, {"recall": {}}, {"recall": None}, {"parameters": 3}, {"metric": None}]
)
def test_a_manifest_entry_that_makes_no_sense_is_refused(change: dict) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        IndexInfo.from_json(IndexInfo("flat").to_json() | change)


def test_the_kind_is_chosen_by_size_and_unknown_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.indices.index.MAX_FLAT", 200)
    assert build_index(VECTORS[:200]).kind == "flat"
    assert build_index(VECTORS[:201]).kind == "ivf"
    with pytest.raises(InvalidInput, match="annoy"):
        build_index(VECTORS, "annoy")
    with pytest.raises(InvalidInput, match="39"):
        build_index(VECTORS[:38], "ivf")


def test_an_approximate_index_reports_what_it_measured(indices: dict[str, VectorIndex]) -> None:
    info = indices["ivf"].info
    assert info.recall >= 0.99
    assert info.queries == 7 * QUERIES
    assert set(info.parameters["nprobe"]) == {"0", "1", "2", "0+1", "0+2", "1+2", "0+1+2"}
    assert indices["flat"].info == IndexInfo("flat", {}, 1.0, 0)


@pytest.mark.parametrize("count", [39, 100, 10_000, 100_000, 1_000_000])
def test_there_are_enough_vectors_to_train_every_list(count: int) -> None:
    assert 1 <= lists(count) <= count / 39
    if count >= 100_000:
        assert 2 <= lists(count) / np.sqrt(count) <= 6


def test_half_precision_moves_no_score_by_more_than_a_tie(indices: dict[str, VectorIndex]) -> None:
    for query in (VECTORS[:20], only(0, VECTORS[:20]), only(2, VECTORS[:20])):
        asked = query / (query**2).sum(1, keepdims=True)
        for found, scores in zip(indices["ivf"].search(asked, COUNT), truth(asked), strict=True):
            assert np.abs(found.scores - scores[found.rows]).max() < TIE


class TestRecall:
    def test_rows_that_are_equally_good_count_whichever_was_found(self) -> None:
        vectors = np.eye(4, dtype=np.float32)[[0, 0, 0, 1]]
        asked = QuerySet((0,), vectors[:1], np.ones(1, np.float32))
        assert asked.recall(vectors, np.array([[2, 1]])) == 1
        assert asked.recall(vectors, np.array([[2, 3]])) == 0.5
        assert asked.recall(vectors, np.array([[-1, -1]])) == 0

    def test_there_are_queries_of_every_pattern_and_their_threshold_is_the_exact_tenth_score(self) -> None:
        sets = query_sets(VECTORS, Parts(PARTS), count=16)
        assert [asked.pattern for asked in sets] == Parts(PARTS).patterns
        for asked in sets:
            assert set(Parts(PARTS).of(asked.queries)) == {asked.pattern}
            assert asked.threshold == pytest.approx(np.sort(truth(asked.queries), axis=1)[:, -10], abs=1e-5)

    def test_a_part_that_no_vector_has_is_not_asked_for(self) -> None:
        silent = VECTORS.copy()
        silent[:, PARTS[0] : PARTS[0] + PARTS[1]] = 0
        assert {asked.pattern for asked in query_sets(silent, Parts(PARTS), count=4)} == {(0,), (2,), (0, 2)}

    @pytest.mark.parametrize("needed", [1, 2, 7, 50, 64, 65])
    def test_the_least_effort_that_is_enough_is_found(self, needed: int) -> None:
        asked = QuerySet((0,), VECTORS[:2], truth(VECTORS[:2]).max(1))

        def search(queries: np.ndarray, effort: int) -> np.ndarray:
            return np.full((2, 1), -1) if effort < needed else truth(queries).argmax(1)[:, None]

        steps = efforts(1, 64)
        effort, recall = least_effort(asked, VECTORS, search, steps)
        assert (effort, recall) == ((min(s for s in steps if s >= needed), 1.0) if needed <= 64 else (64, 0.0))


class TestDevice:
    def test_without_gpu_support_the_processor_searches_and_the_reason_is_told(
        self, index: VectorIndex, tmp_path: Path
    ) -> None:
        if hasattr(faiss, "StandardGpuResources"):
            pytest.skip("this FAISS has GPU support")
        index.save(tmp_path / "i")
        place = load_index(tmp_path / "i", index.kind, index.info.parameters).place
        assert place.startswith("cpu: ")
        assert "GPU support" in place

    def test_a_gpu_takes_what_it_can_and_leaves_the_rest_to_the_processor(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """FAISS's bindings for GPUs, faked: a copy that counts, and refuses filters as theirs does."""
        asked: list[int] = []

        class FakeGpuIndex:
            def __init__(self, index: object) -> None:
                self._index = index

            def search(self, vectors: np.ndarray, k: int, params: object = None) -> object:
                assert getattr(params, "sel", None) is None
                asked.append(k)
                return self._index.search(vectors, k, params=params)

        monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
        monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
        monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda _, __, index: FakeGpuIndex(index), raising=False)
        for built in (FlatIndex.build(VECTORS), build_index(VECTORS, "ivf", PARTS)):
            asked.clear()
            built.save(tmp_path / built.kind)
            on_gpu = load_index(tmp_path / built.kind, built.kind, built.info.parameters)
            assert on_gpu.place == "cuda:0"
            assert len(on_gpu.search(VECTORS[[0, 0]], 5)) == 2
            assert asked == [5]
            allowed = np.arange(COUNT) % 2 == 0
            assert all(allowed[f.rows].all() for f in on_gpu.search(VECTORS[:2], 5, allowed))
            on_gpu.search(VECTORS[:2], devices.MAX_K + 1)
            assert asked == [5]

    def test_without_room_on_the_gpu_the_processor_searches(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def full(*_: object) -> None:
            raise RuntimeError("Error in alloc: out of memory")

        monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
        monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
        monkeypatch.setattr(faiss, "index_cpu_to_gpu", full, raising=False)
        FlatIndex.build(VECTORS).save(tmp_path / "i")
        index = load_index(tmp_path / "i", "flat")
        assert index.place.startswith("cpu: ")
        assert len(index.search(VECTORS[:1], 3)[0].rows) == 3
