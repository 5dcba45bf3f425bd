"""Tags and embedding of a whole song."""

import threading
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.music.audio import Audio
from choreo.music.tagging.log_mel import HOP, SAMPLE_RATE, log_mel
from choreo.music.tagging.musicnn import EMBEDDING_DIM, MODELS, TAGS, WINDOW, Musicnn
from choreo.music.tagging.vocabulary import GENRES, MOODS, VOCABULARIES

Array = NDArray[np.float32]

MAX_WINDOWS: Final = 100
"""Of a song that is longer than five minutes, so many windows at equal distances are heard."""
WINDOW_S: Final = WINDOW * HOP / SAMPLE_RATE


@dataclass(frozen=True)
class SongTags:
    """What a song sounds like.

    Attributes:
        names: of the 50 tags.
        windows: float32 (W, 50), probability of each tag in each window.
        embeddings: float32 (W, 200), of each window.
        starts: float64 (W,), where windows begin, in seconds.
    """

    names: tuple[str, ...]
    windows: Array
    embeddings: Array
    starts: NDArray[np.float64]

    @property
    def probabilities(self) -> Array:
        """Mean probability of each tag (50,); zeros for a song without windows."""
        return _mean(self.windows)

    @property
    def embedding(self) -> Array:
        """Mean embedding (200,); zeros for a song without windows."""
        return _mean(self.embeddings)

    def top(self, num: int, among: frozenset[str] | None = None) -> list[tuple[str, float]]:
        """The likeliest tags with their probabilities, at most `num`, of all or of those `among`."""
        tags = zip(self.names, self.probabilities.tolist(), strict=True)
        chosen = [(name, value) for name, value in tags if among is None or name in among]
        return sorted(chosen, key=lambda tag: -tag[1])[:num] if len(self.windows) else []

    def document(self, num: int = 10) -> dict[str, Any]:
        """JSON-serialisable form."""
        return {
            "tags": _listed(self.top(num)),
            "genre": _listed(self.top(3, GENRES)),
            "mood": _listed(self.top(3, MOODS)),
            "embedding": self.embedding.astype(float).round(5).tolist(),
            "windows": len(self.windows),
        }


class Tagger:
    """Tags songs. Thread-safe; the weights are loaded at the first use.

    Args:
        model: `msd` (genres and moods) or `mtt` (instruments and voices).

    Raises:
        InvalidInput: there is no such model.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, model: str = "msd") -> None:
        if model not in MODELS:
            raise InvalidInput("model", f"must be {' or '.join(MODELS)}, got {model[:64]!r}")
        self._model = model
        self._lock = threading.Lock()
        self._network: Musicnn | None = None

    def tag(self, audio: Audio) -> SongTags:
        """Tags of a song in windows of 3 s; what is left after the last whole window is not heard.

        A song that is shorter than a window is repeated. Silence has no tags.

        Raises:
            MissingDependency: the weights are missing.
            InvalidArtifact: the weights are broken.
        """
        spectrum = log_mel(audio.at(SAMPLE_RATE).samples)
        names = VOCABULARIES[self._model]
        if len(spectrum) < WINDOW:
            spectrum = np.tile(spectrum, (-(-WINDOW // len(spectrum)), 1))
        firsts = _evenly(len(spectrum) // WINDOW) * WINDOW
        sounding = [first for first in firsts.tolist() if spectrum[first : first + WINDOW].any()]
        network = self._loaded()
        heard = [network.hear(spectrum[first : first + WINDOW]) for first in sounding]
        return SongTags(
            names,
            np.array([window.probabilities for window in heard], np.float32).reshape(-1, TAGS),
            np.array([window.embedding for window in heard], np.float32).reshape(-1, EMBEDDING_DIM),
            np.array(sounding, np.float64) * HOP / SAMPLE_RATE,
        )

    def _loaded(self) -> Musicnn:
        with self._lock:
            if self._network is None:
                self._network = Musicnn.shipped(self._model)
            return self._network


def _evenly(num: int) -> NDArray[np.int64]:
    """Numbers of the windows to hear, of `num`."""
    return np.linspace(0, num - 1, min(num, MAX_WINDOWS)).round().astype(np.int64)


def _mean(rows: Array) -> Array:
    out: Array = rows.mean(0) if len(rows) else np.zeros(rows.shape[1], np.float32)
    return out


def _listed(tags: list[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"name": name, "probability": round(value, 4)} for name, value in tags]
