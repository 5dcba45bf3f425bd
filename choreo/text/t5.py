"""Sentence-T5 (Ni et al. 2022), 768-d, from weights that are on this machine."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact
from choreo.text.local import Weights

WEIGHTS: Final = Weights("sentence-t5", "sentence-transformers/sentence-t5-base", "CHOREO_T5_WEIGHTS")


class T5TextEncoder:
    """Sentence-T5 embeddings of unit length.

    Args:
        source: folder of the weights, or their name in the local Hugging Face cache; by default what the environment
            variable `CHOREO_T5_WEIGHTS` names, else `sentence-transformers/sentence-t5-base`. Nothing is downloaded.
        device: torch device.
    """

    name = "t5"
    dim = 768

    def __init__(self, source: str | Path | None = None, device: str = "cpu") -> None:
        self._source = source or WEIGHTS.source()
        self._device = device
        self._lock = threading.Lock()
        self._model: Any = None

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings float32 (N, 768), one row per text.

        Raises:
            MissingDependency: the weights are not on this machine.
            InvalidArtifact: the weights are those of another sentence encoder.
        """
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        embeddings = self._load().encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(embeddings, np.float32)

    def _load(self) -> Any:
        with self._lock:
            if self._model is None:
                self._model = WEIGHTS.load(self._source, self._read)
            return self._model

    def _read(self) -> Any:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(self._source), device=self._device, local_files_only=True)
        dim = model.get_embedding_dimension()
        if dim != self.dim:
            raise InvalidArtifact(f"must be a sentence encoder with {self.dim} dimensions, got {dim}")
        return model
