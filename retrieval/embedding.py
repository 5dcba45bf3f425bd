"""One space for phrases and queries: a text, a music and a motion block, side by side.

Each block has unit length and is weighted by the square root of its weight, so the inner product of two embeddings is
the weighted mean of the blocks' cosines. A query is divided by the weight of the blocks it has, so that its scores
fill [-1, 1] whatever it knows; a block that the phrase lacks counts as neither like nor unlike, cosine 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.text.encoders import TextEncoder
from retrieval.phrases import STATS, Phrase

Vectors = NDArray[np.float32]

VERSION: Final = 1
"""Of the layout and the formulas below; a library with another one must be built again."""
MUSIC_DIM: Final = 4
"""cos and sin on the tempo circle, beat strength, energy."""
MAX_Z: Final = 4.0
"""A statistic this many standard deviations out says all it can."""
_SUMMARY_GAIN: Final = 0.5
_EPS: Final = 1e-6


@dataclass(frozen=True)
class Weights:
    """How much each block counts; they need not add up to 1."""

    text: float = 0.5
    music: float = 0.35
    motion: float = 0.15

    def __post_init__(self) -> None:
        if not all(np.isfinite(w) and w > 0 for w in (self.text, self.music, self.motion)):
            raise InvalidInput("weights", f"must be positive numbers, got {self}")


@dataclass(frozen=True)
class EmbeddingConfig:
    """Everything an embedding depends on; it lies beside the index.

    Attributes:
        text_encoder, text_dim: the sentence encoder.
        weights: of the blocks.
        stats: names of the motion statistics.
        stats_mean, stats_std: of the library's phrases.
        energy_mean, energy_std: of the logarithm of the phrases' kinetic energy.
        version: of the formulas.
    """

    text_encoder: str
    text_dim: int
    weights: Weights = Weights()
    stats: tuple[str, ...] = STATS
    stats_mean: tuple[float, ...] = (0.0,) * len(STATS)
    stats_std: tuple[float, ...] = (1.0,) * len(STATS)
    energy_mean: float = 0.0
    energy_std: float = 1.0
    version: int = VERSION

    @property
    def dim(self) -> int:
        """Columns of an embedding."""
        return self.text_dim + MUSIC_DIM + len(self.stats)

    def fitted(self, phrases: Sequence[Phrase]) -> "EmbeddingConfig":
        """The same with the statistics of these phrases."""
        stats = np.array([p.stats for p in phrases], np.float64)
        energy = np.array([_log_energy(p.energy) for p in phrases])
        return replace(
            self,
            stats_mean=_rounded(stats.mean(0)),
            stats_std=_rounded(np.maximum(stats.std(0), 1e-4)),
            energy_mean=round(float(energy.mean()), 9),
            energy_std=round(float(max(energy.std(), 1e-4)), 9),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "EmbeddingConfig":
        """Inverse of `to_json`.

        Raises:
            InvalidArtifact: fields are missing, of the wrong kind, or of another version.
        """
        try:
            fields = dict(values)
            if fields.get("version") != VERSION:
                raise InvalidArtifact(
                    f"phrase embeddings are of version {fields.get('version')}, this program's are of {VERSION}; "
                    "build the library again"
                )
            fields["weights"] = Weights(**fields["weights"])
            for name in ("stats", "stats_mean", "stats_std"):
                fields[name] = tuple(fields[name])
            config = cls(**fields)
            config._check()
        except (TypeError, KeyError, ValueError) as error:
            raise InvalidArtifact(f"the embedding's configuration is broken: {error}") from error
        return config

    def _check(self) -> None:
        if self.stats != STATS:
            raise InvalidArtifact("the library's motion statistics are not this program's; build it again")
        numbers = np.array([*self.stats_mean, *self.stats_std, self.energy_mean, self.energy_std], np.float64)
        if len(numbers) != 2 * len(STATS) + 2 or not np.isfinite(numbers).all():
            raise ValueError("statistics are missing or not finite")
        if min(*self.stats_std, self.energy_std) <= 0 or self.text_dim < 1:
            raise ValueError("standard deviations and text_dim must be positive")


@dataclass(frozen=True)
class Music:
    """What is known of a song.

    Attributes:
        tempo: beats per minute, 0 where there is no beat; halves and doubles are the same.
        beat_strength: see `retrieval.phrases.beat_strength`.
        energy: how lively, in standard deviations from an average song, None where unknown; phrases answer with
            the kinetic energy of their motion.
    """

    tempo: float
    beat_strength: float | None = None
    energy: float | None = None


@dataclass(frozen=True)
class Query:
    """What is looked for; absent blocks are None.

    Attributes:
        text: (E,) embedding of the prompt by the library's text encoder.
        music: of the song.
        stats: motion statistics in the order of `STATS`, of a motion that the result should be like.
    """

    text: NDArray[np.floating] | None = None
    music: Music | None = None
    stats: Sequence[float] | None = None


class QueryEmbedder:
    """Embeds phrases when a library is built, and queries when it is searched, by the same formulas."""

    def __init__(self, config: EmbeddingConfig) -> None:
        self.config = config
        self._cuts = np.cumsum([config.text_dim, MUSIC_DIM])
        w = config.weights
        self._weights = np.array([w.text, w.music, w.motion]) / (w.text + w.music + w.motion)

    def require(self, encoder: str, dim: int) -> None:
        """Refuse a text encoder whose vectors mean something else.

        Raises:
            InvalidArtifact: the library was built with another one.
        """
        if (encoder, dim) != (self.config.text_encoder, self.config.text_dim):
            raise InvalidArtifact(
                f"the phrase library was built with the text encoder {self.config.text_encoder} "
                f"({self.config.text_dim} numbers), but {encoder} ({dim}) is in use; build it again"
            )

    def text_query(self, encoder: TextEncoder, text: str) -> Query:
        """A query of words only."""
        self.require(encoder.name, encoder.dim)
        return Query(text=encoder.encode([text])[0])

    def phrases(self, phrases: Sequence[Phrase], texts: NDArray[np.floating]) -> Vectors:
        """Embeddings float32 (N, D) of phrases with text vectors (N, E); each of length 1 or less."""
        if texts.shape != (len(phrases), self.config.text_dim):
            raise InvalidInput("texts", f"must have shape {(len(phrases), self.config.text_dim)}, got {texts.shape}")
        rows = [
            self._blocks(text, Music(p.tempo, p.beat_strength, self._energy(p)), p.stats)
            for p, text in zip(phrases, texts, strict=True)
        ]
        return (np.array(rows) if rows else np.zeros((0, self.config.dim))).astype(np.float32)

    def queries(self, queries: Sequence[Query]) -> Vectors:
        """Embeddings float32 (N, D) of queries; a row of zeros for one that says nothing.

        Raises:
            InvalidInput: a block has the wrong number of columns or is not finite.
        """
        out = np.zeros((len(queries), self.config.dim), np.float32)
        for row, query in zip(out, queries, strict=True):
            vector = self._blocks(query.text, query.music, query.stats)
            weight = float((vector**2).sum())  # unit blocks: the sum of the weights that are there
            if weight > _EPS:
                row[:] = vector / weight
        return out

    def _blocks(
        self, text: NDArray[np.floating] | None, music: Music | None, stats: Sequence[float] | None
    ) -> NDArray[np.float64]:
        out = np.zeros(self.config.dim)
        parts = np.split(out, self._cuts)  # views
        if text is not None:
            parts[0][:] = _unit(_checked(text, self.config.text_dim, "text"))
        if music is not None:
            parts[1][:] = _unit(_music_block(music))
        if stats is not None:
            z = (_checked(stats, len(STATS), "stats") - self.config.stats_mean) / self.config.stats_std
            parts[2][:] = _unit(np.clip(z, -MAX_Z, MAX_Z))
        for part, weight in zip(parts, self._weights, strict=True):
            part *= np.sqrt(weight)
        return out

    def _energy(self, phrase: Phrase) -> float:
        return (_log_energy(phrase.energy) - self.config.energy_mean) / self.config.energy_std


def _music_block(music: Music) -> NDArray[np.float64]:
    """Octave-folded tempo on a circle, so that 60, 120 and 240 BPM are one point and 85 is opposite; then a summary."""
    values = (music.tempo, music.beat_strength or 0.0, music.energy or 0.0)
    if not np.isfinite(values).all() or music.tempo < 0:
        raise InvalidInput("music", f"tempo, beat strength and energy must be finite, got {music}")
    if not music.tempo:
        return np.zeros(MUSIC_DIM)  # without a beat the summary says too little to search by
    angle = 2 * np.pi * np.log2(music.tempo)
    strength = 0.0 if music.beat_strength is None else 2 * music.beat_strength - 1
    return np.array(
        [np.cos(angle), np.sin(angle), _SUMMARY_GAIN * np.tanh(strength), _SUMMARY_GAIN * np.tanh(music.energy or 0.0)]
    )


def _checked(values: Sequence[float] | NDArray[np.floating], dim: int, field: str) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.shape != (dim,):
        raise InvalidInput(field, f"must have {dim} numbers, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidInput(field, "holds NaN or infinity")
    return array


def _unit(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """v / |v|, or zeros where v is (next to) nothing."""
    norm = float(np.linalg.norm(v))
    return v / norm if norm > _EPS else np.zeros_like(v)


def _log_energy(energy: float) -> float:
    return float(np.log(max(energy, 0.0) + 1e-3))


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(v), 9) for v in values)
