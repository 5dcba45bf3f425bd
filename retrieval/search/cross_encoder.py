"""The documents' reranker: a cross-encoder (Nogueira and Cho 2019) that reads prompt and phrase together.

Its weights are not in this program and are never fetched while it serves.
"""

import threading
from collections.abc import Callable, Sequence
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


class CrossEncoderReranker:
    """Scores words by a cross-encoder, and everything else as the embedded reranker does.

    Weights are loaded at the first use; after that any number of threads may score.

    Args:
        embedded: for requests without a prompt, and for the song's share of those with both.
        source: name of the weights or the folder that holds them.
        calibration: from logits to probabilities; the sigmoid itself by default.
        load: makes the model of a source; by default sentence-transformers, from local files only.
    """

    name = "cross-encoder"

    def __init__(
        self,
        embedded: FeatureReranker,
        source: str | Path = REPOSITORY,
        calibration: Scorer = Scorer(0.0, (1.0,)),
        load: Callable[[str | Path], Any] | None = None,
    ) -> None:
        self._embedded, self._source, self._calibration = embedded, source, calibration
        self._read = load or _from_sentence_transformers
        self._lock = threading.Lock()
        self._model: Any = None

    def scores(self, query: Query, text: str, hits: Sequence[Hit]) -> NDArray[np.float64]:
        """See `retrieval.search.rerank.Reranker`.

        Raises:
            MissingDependency: the weights are not on this machine; the message says how to get them.
        """
        if not text or not hits:
            return self._embedded.scores(query, text, hits)
        pairs = [(text, hit.phrase.words) for hit in hits]
        logits = np.asarray(self.load().predict(pairs, batch_size=_BATCH, show_progress_bar=False), np.float64)
        return self._embedded.combined(query, text, hits, {"text": self._calibration(logits.reshape(-1, 1))})

    def load(self) -> Any:
        """The model, read at the first call.

        Raises:
            MissingDependency: the weights are not on this machine; the message says how to get them.
        """
        with self._lock:
            if self._model is None:
                self._model = self._read(self._source)
            return self._model


def _from_sentence_transformers(source: str | Path) -> Any:
    def load() -> Any:
        from sentence_transformers import CrossEncoder
        from torch.nn import Identity

        # Logits: the calibration is the only sigmoid.
        return CrossEncoder(str(source), device="cpu", local_files_only=True, activation_fn=Identity())

    return Weights("the cross-encoder", REPOSITORY, "CHOREO_CROSS_ENCODER").load(source, load)
