"""The whole benchmark on small libraries; what it measures is left to itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_phrases import WordEncoder

from bench import retrieval
from bench.synthetic_phrases import PARTS, QUESTIONS, SyntheticPhrases
from retrieval.indices.recall import Parts
from retrieval.library.library import PhraseLibrary


@pytest.fixture(scope="module")
def drawn(library: PhraseLibrary, words: WordEncoder) -> SyntheticPhrases:
    return SyntheticPhrases.like(library, words)


def test_every_contender_is_measured_and_nothing_is_left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    words: WordEncoder,
) -> None:
    monkeypatch.setattr(retrieval, "BUNDLED", folder)
    monkeypatch.setattr(retrieval, "text_encoder", lambda name: words)
    argv = ["--sizes", "300", "--folder", str(tmp_path), "--json"]
    assert retrieval.main(argv) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    values = {(row["case"], row["metric"]): row["value"] for row in rows}
    contract = {"recall_at_10", "queries_per_s", "p95_ms", "resident_mib", "build_s", "disk_mib"}
    for kind, least in (("flat", 1), ("ivf", 0.95)):
        for batch in (1, 64):
            case = f"{kind}/300/{batch}"
            assert contract <= {row["metric"] for row in rows if row["case"] == case}
            assert values[case, "recall_at_10"] >= least
            assert 0 < values[case, "resident_mib"] < 1024
        assert any(row["case"] == f"{kind}-gpu/300" for row in rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sizes", ["", "ten", "100,5", "-1"])
def test_senseless_sizes_exit_with_2(sizes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert retrieval.main(["--sizes", sizes]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("choreo: sizes:")


def test_synthetic_phrases_differ_and_keep_their_parents_motion(
    drawn: SyntheticPhrases, library: PhraseLibrary
) -> None:
    assert set(drawn.steps) == set(PARTS)
    assert all(0 < step < 2 for step in drawn.steps.values())
    batches = list(drawn.batches(500, 200, np.random.default_rng(0)))
    assert [len(batch.parents) for batch in batches] == [200, 200, 100]
    vectors = np.concatenate([drawn.embedder.phrases(batch.columns, batch.texts) for batch in batches])
    assert np.linalg.norm(vectors, axis=1).max() <= 1 + 1e-5
    assert len(np.unique(vectors.round(6), axis=0)) > 450
    phrase = drawn.phrase(batches[0], 3, 7)
    assert phrase.id == "0000000000000007"
    assert library.motion(phrase).shape == (phrase.num_frames, 22, 3)


def test_a_child_is_as_unlike_its_parent_as_real_phrases_are_unlike_their_nearest(drawn: SyntheticPhrases) -> None:
    (batch,) = drawn.batches(2000, 2000, np.random.default_rng(0))
    motion = Parts(drawn.embedder.config.parts).slices()[PARTS.index("motion")]
    real = drawn.embedder.phrases(drawn.phrases, np.zeros((len(drawn.phrases), 48)))[:, motion]
    children = drawn.embedder.phrases(batch.columns, batch.texts)[:, motion]
    real, children = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (real, children))
    nearest = (real @ real.T - 2 * np.eye(len(real))).max(1)
    assert np.median((children * real[batch.parents]).sum(1)) == pytest.approx(np.median(nearest), abs=0.03)


def test_the_same_seed_draws_the_same(drawn: SyntheticPhrases) -> None:
    one, other = (next(drawn.batches(50, 50, np.random.default_rng(3))) for _ in range(2))
    assert np.array_equal(one.texts, other.texts)
    assert np.array_equal(one.columns.stats, other.columns.stats)


def test_questions_take_turns(drawn: SyntheticPhrases) -> None:
    questions = drawn.questions(9, np.random.default_rng(0))
    for i, question in enumerate(questions):
        kind = QUESTIONS[i % len(QUESTIONS)]
        assert (question.text is not None, question.music is not None) == ("text" in kind, "music" in kind)
    assert drawn.embedder.queries(questions).any(1).all()
