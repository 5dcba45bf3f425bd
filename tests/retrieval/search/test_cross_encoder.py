from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_phrases import phrase

from choreo.errors import MissingDependency
from retrieval.library.embedding import EmbeddingConfig, Music, Query, QueryEmbedder
from retrieval.library.library import Hit
from retrieval.search import cross_encoder
from retrieval.search.cross_encoder import CrossEncoderReranker
from retrieval.search.rerank import FeatureReranker

EMBEDDED = FeatureReranker(QueryEmbedder(EmbeddingConfig("words", 2)))
TEXT = Query(np.ones(2))


class FakeCrossEncoder:
    """Logit 10 for phrases that say the prompt word for word, else -10."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []

    def predict(self, pairs: Sequence[tuple[str, str]], **options: Any) -> np.ndarray:
        self.pairs += pairs
        return np.array([10.0 if prompt == words else -10.0 for prompt, words in pairs], np.float32)


def hits(*words: str) -> list[Hit]:
    return [Hit(replace(phrase(tempo=100.0 + 20 * i), words=w), 0.5, i, 0.5) for i, w in enumerate(words)]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Sources that a fake model was loaded from."""
    sources: list[object] = []

    def fake_load(source: object) -> FakeCrossEncoder:
        sources.append(source)
        return FakeCrossEncoder()

    monkeypatch.setattr(cross_encoder, "_from_sentence_transformers", fake_load)
    return sources


def test_logits_become_probabilities(loads: list[object]) -> None:
    reranker = CrossEncoderReranker(EMBEDDED)
    scores = reranker.scores(TEXT, "b", hits("a", "b"))
    assert scores == pytest.approx([1 / (1 + np.exp(10)), 1 / (1 + np.exp(-10))])
    assert reranker.load().pairs == [("b", "a"), ("b", "b")]


def test_it_is_loaded_once_and_only_for_prompts(loads: list[object]) -> None:
    reranker = CrossEncoderReranker(EMBEDDED, "there")
    song = Query(music=Music(100.0))
    assert np.array_equal(reranker.scores(song, "", hits("a", "b")), EMBEDDED.scores(song, "", hits("a", "b")))
    assert len(reranker.scores(TEXT, "x", [])) == 0
    assert loads == []
    for _ in range(2):
        reranker.scores(TEXT, "x", hits("a"))
    assert loads == ["there"]


def test_the_song_counts_in_addition_to_the_prompt(loads: list[object]) -> None:
    reranker = CrossEncoderReranker(EMBEDDED)
    scores = reranker.scores(Query(np.ones(2), Music(100.0)), "a", hits("a", "a"))
    assert scores[0] > scores[1]


def test_absent_weights_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="hf download cross-encoder/ms-marco-MiniLM-L-6-v2"):
        CrossEncoderReranker(EMBEDDED, tmp_path / "nowhere").scores(TEXT, "x", hits("a"))


def test_a_real_cross_encoder_of_random_weights(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "waltz", "kick"]))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, num_labels=1,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    scores = CrossEncoderReranker(EMBEDDED, tmp_path).scores(TEXT, "a waltz", hits("a waltz", "kick", ""))
    assert scores.shape == (3,)
    assert ((scores > 0) & (scores < 1)).all()
