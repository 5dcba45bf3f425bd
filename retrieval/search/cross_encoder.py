"""A reranker that reads prompt and phrase together: a cross-encoder (Nogueira and Cho 2019).

Its weights are not part of this program and are never downloaded while it serves.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.text.local import Weights
from retrieval.library.embedding import Query
from retrieval.library.library import Hit
from retrieval.search.rerank import FeatureReranker, Scorer

REPOSITORY: Final = "cross-encoder/ms-marco-MiniLM-L-6-v2"
_BATCH: Final = 32
_SIGMOID: Final = Scorer(0.0, (1.0,))


class CrossEncoderReranker:
    """Scores texts by a cross-encoder, and everything else by the default reranker; thread-safe.

    Args:
        default: for queries without a prompt, and for the music of those with both.
        source: name of the weights in the local cache, or the folder that holds them.
    """

    def __init__(self, default: FeatureReranker, source: str | Path = REPOSITORY) -> None:
        self._default, self._source = default, source
        self._lock = threading.Lock()
        self._model: Any = None

    def scores(self, query: Query, text: str, hits: Sequence[Hit]) -> NDArray[np.float64]:
        """Probabilities (n,) that the hits fit a query and its prompt `text`.

        Raises:
            MissingDependency: the weights are not on this machine; the message says how to get them.
        """
        if not text or not hits:
            return self._default.scores(query, text, hits)
        pairs = [(text, hit.phrase.words) for hit in hits]
        logits = np.asarray(self.load().predict(pairs, batch_size=_BATCH, show_progress_bar=False), np.float64)
        return self._default.scores(query, text, hits, {"text": _SIGMOID(logits.reshape(-1, 1))})

    def load(self) -> Any:
        """The model, read at the first call.

        Raises:
            MissingDependency: the weights are not on this machine; the message says how to get them.
        """
        with self._lock:
            if self._model is None:
                self._model = _from_sentence_transformers(self._source)
            return self._model


def _from_sentence_transformers(source: str | Path) -> Any:
    def load() -> Any:
        from sentence_transformers import CrossEncoder
        from torch.nn import Identity

        # Logits, because `scores` applies the sigmoid itself.
        return CrossEncoder(str(source), device="cpu", local_files_only=True, activation_fn=Identity())

    return Weights("the cross-encoder", REPOSITORY, "CHOREO_CROSS_ENCODER").load(source, load)
