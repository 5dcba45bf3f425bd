"""The embedding space of phrases and queries: blocks for text, the music's rhythm, pattern and timbre, and motion.

Most of the library's mean text vector is subtracted from text vectors first: what all captions share ("a person is
...") would otherwise outweigh the differences. Each block has unit length times the square root of its weight, so the
inner product of two embeddings is the weighted mean of the blocks' cosines. A query is divided by the total weight of
the blocks it has, so that its scores fill [-1, 1] whichever those are; a block that the phrase lacks has cosine 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, FiniteFloat, PositiveInt, TypeAdapter

from choreo.errors import InvalidArtifact, InvalidInput
from retrieval.library.phrases import STATS, Phrase
from retrieval.library.song_summary import PATTERN, SUMMARY, TIMBRE

Array = NDArray[np.float64]
Vectors = NDArray[np.float32]

VERSION: Final = 2
"""Of the layout and formulas below; a library of another version must be built again."""
RHYTHM_DIM: Final = 4
"""cos and sin on the tempo circle, beat strength, energy."""
MAX_Z: Final = 3.0
"""Standard scores are clipped to +-MAX_Z."""
TEXT_CENTRING: Final = 0.75
"""Share of the mean text vector that is subtracted; all of it would leave nothing of a library of one sentence."""
_SIDE_GAIN: Final = 0.5
_MIN_STD: Final = 1e-4
_EPS: Final = 1e-6

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_PER_STAT = Field(min_length=len(STATS), max_length=len(STATS))
_PER_SUMMARY = Field(min_length=len(SUMMARY), max_length=len(SUMMARY))


@dataclass(frozen=True)
class Weights:
    """Weight of each block; they need not add up to 1. docs/retrieval.md has the measurements behind the defaults.

    Raises:
        InvalidInput: a weight is not a positive number.
    """

    text: float = 0.5
    rhythm: float = 0.2
    pattern: float = 0.1
    timbre: float = 0.05
    motion: float = 0.15

    def __post_init__(self) -> None:
        if not all(np.isfinite(w) and w > 0 for w in astuple(self)):
            raise InvalidInput("weights", f"must be positive numbers, got {self}")


BLOCKS: Final = tuple(f.name for f in fields(Weights))
"""Names of the blocks, in order."""


@dataclass(frozen=True)
class PhraseColumns:
    """The numbers of N phrases that embeddings need, as columns; NaN where a phrase has none.

    Attributes:
        tempo, beat_strength, energy: (N,), as in `Phrase`.
        stats: (N, 14) motion statistics.
        music: (N, 30) song summaries.
    """

    tempo: Array
    beat_strength: Array
    energy: Array
    stats: Array
    music: Array

    @classmethod
    def of(cls, phrases: Sequence[Phrase]) -> Self:
        """The columns of these phrases."""
        nothing = (np.nan,) * len(SUMMARY)
        return cls(
            np.array([p.tempo for p in phrases], np.float64),
            np.array([p.beat_strength for p in phrases], np.float64),  # None becomes NaN
            np.array([p.energy for p in phrases], np.float64),
            np.array([p.stats for p in phrases], np.float64).reshape(len(phrases), len(STATS)),
            np.array([nothing if p.music is None else p.music for p in phrases], np.float64).reshape(-1, len(SUMMARY)),
        )

    def __len__(self) -> int:
        return len(self.tempo)


@dataclass(frozen=True)
class EmbeddingConfig:
    """Everything an embedding depends on; part of the library's manifest.

    Attributes:
        text_encoder, text_dim: the sentence encoder.
        weights: of the blocks.
        text_mean: mean of the library's unit text vectors; empty: zeros.
        stats, summary: names of the motion statistics and of the song summary's numbers.
        stats_mean, stats_std: over the library's phrases.
        summary_mean, summary_std: over the phrases with music.
        energy_mean, energy_std: of the logarithm of the phrases' kinetic energy.
        version: of the formulas.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    text_encoder: str
    text_dim: PositiveInt
    weights: Weights = Weights()
    text_mean: tuple[FiniteFloat, ...] = ()
    stats: tuple[str, ...] = STATS
    stats_mean: Annotated[tuple[FiniteFloat, ...], _PER_STAT] = (0.0,) * len(STATS)
    stats_std: Annotated[tuple[_Positive, ...], _PER_STAT] = (1.0,) * len(STATS)
    summary: tuple[str, ...] = SUMMARY
    summary_mean: Annotated[tuple[FiniteFloat, ...], _PER_SUMMARY] = (0.0,) * len(SUMMARY)
    summary_std: Annotated[tuple[_Positive, ...], _PER_SUMMARY] = (1.0,) * len(SUMMARY)
    energy_mean: FiniteFloat = 0.0
    energy_std: _Positive = 1.0
    version: int = VERSION

    @property
    def dim(self) -> int:
        """Dimension of an embedding."""
        return sum(self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of columns of each of `BLOCKS`."""
        return self.text_dim, RHYTHM_DIM, len(PATTERN), len(TIMBRE), len(self.stats)

    @property
    def parts(self) -> tuple[int, int, int]:
        """Number of columns of the groups that a query has or lacks as a whole: text, music, motion."""
        text, *music, motion = self.sizes
        return text, sum(music), motion

    def fitted(
        self, phrases: Sequence[Phrase] | PhraseColumns, texts: NDArray[np.floating] | None = None
    ) -> "EmbeddingConfig":
        """The same configuration with the statistics of these phrases, and of text vectors (N, E) if given."""
        columns = phrases if isinstance(phrases, PhraseColumns) else PhraseColumns.of(phrases)
        energy = _log_energy(columns.energy)
        music = columns.music[~np.isnan(columns.music).any(1)]
        out = replace(
            self,
            stats_mean=_rounded(columns.stats.mean(0)),
            stats_std=_rounded(np.maximum(columns.stats.std(0), _MIN_STD)),
            energy_mean=round(float(energy.mean()), 9),
            energy_std=round(float(max(energy.std(), _MIN_STD)), 9),
        )
        if len(music):
            means, stds = music.mean(0), np.maximum(music.std(0), _MIN_STD)
            out = replace(out, summary_mean=_rounded(means), summary_std=_rounded(stds))
        if texts is not None and len(with_text := texts[np.any(texts, axis=1)]):
            out = replace(out, text_mean=_rounded(_unit(with_text).mean(0), 4))
        return out

    def to_json(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "EmbeddingConfig":
        """Inverse of `to_json`.

        Raises:
            InvalidArtifact: fields are missing or malformed, or the version is another one.
        """
        try:
            if (version := values.get("version")) != VERSION:
                raise InvalidArtifact(
                    f"phrase embeddings are of version {version}, this program's are of {VERSION}; "
                    "build the library again"
                )
            config = _ADAPTER.validate_python(values)
            if len(config.text_mean) not in (0, config.text_dim):
                raise ValueError(f"text_mean has {len(config.text_mean)} numbers, not {config.text_dim}")
        except (AttributeError, ValueError) as error:
            raise InvalidArtifact(f"the embedding's configuration is broken: {error}") from error
        if config.stats != STATS or config.summary != SUMMARY:
            raise InvalidArtifact("the library's statistics of motion or music are not this program's; build it again")
        return config


_ADAPTER: Final = TypeAdapter(EmbeddingConfig)


@dataclass(frozen=True)
class Music:
    """The music block of a query.

    Attributes:
        tempo: beats per minute, 0 without a beat; half and double tempo are equivalent.
        beat_strength: of `retrieval.library.phrases.beat_strength`; None if unknown.
        summary: of `retrieval.library.song_summary`; None if unknown.
    """

    tempo: float
    beat_strength: float | None = None
    summary: Sequence[float] | None = None


@dataclass(frozen=True)
class Query:
    """What to look for; absent blocks are None.

    Attributes:
        text: (E,) embedding of the prompt by the library's text encoder.
        music: of the song.
        stats: statistics, in the order of `STATS`, of a motion that the result should resemble.
    """

    text: NDArray[np.floating] | None = None
    music: Music | None = None
    stats: Sequence[float] | None = None


class QueryEmbedder:
    """Embeds the phrases of a library, and queries to it, by the same formulas."""

    def __init__(self, config: EmbeddingConfig) -> None:
        self.config = config
        weights = np.array(astuple(config.weights))
        self._weights = weights / weights.sum()
        self._centre = TEXT_CENTRING * np.array(config.text_mean or (0.0,) * config.text_dim)
        ends = np.cumsum(config.sizes)
        self._blocks = [slice(int(end - size), int(end)) for end, size in zip(ends, config.sizes, strict=True)]

    def require(self, encoder: str, dim: int) -> None:
        """Check that the library was built with this text encoder.

        Raises:
            InvalidArtifact: it was built with another one, whose vectors cannot be compared; the message says how to
                build it again.
        """
        if (encoder, dim) != (self.config.text_encoder, self.config.text_dim):
            raise InvalidArtifact(
                f"the phrase library was built with the text encoder {self.config.text_encoder} "
                f"({self.config.text_dim} numbers), but {encoder} ({dim}) is in use; build it again: "
                f"choreo phrases build SOURCE --out LIBRARY --text-encoder {encoder}"
            )

    def phrases(self, phrases: Sequence[Phrase] | PhraseColumns, texts: NDArray[np.floating]) -> Vectors:
        """Embeddings float32 (N, D), of length 1 or less, of phrases with text vectors (N, E).

        Raises:
            InvalidInput: the text vectors have another shape, or a number is not finite.
        """
        columns = phrases if isinstance(phrases, PhraseColumns) else PhraseColumns.of(phrases)
        if texts.shape != (len(columns), self.config.text_dim):
            raise InvalidInput("texts", f"must have shape {(len(columns), self.config.text_dim)}, got {texts.shape}")
        energy = (_log_energy(columns.energy) - self.config.energy_mean) / self.config.energy_std
        rhythm = _rhythm(columns.tempo, columns.beat_strength, energy)
        vectors = self._embed(
            _finite(texts, "texts"), rhythm, self._z_music(columns.music), self._z_stats(columns.stats)
        )
        return vectors.astype(np.float32)

    def queries(self, queries: Sequence[Query]) -> Vectors:
        """Embeddings float32 (N, D) of queries; zeros for an empty query.

        Raises:
            InvalidInput: a block has the wrong number of columns or is not finite.
        """
        config = self.config
        songs = [query.music for query in queries]
        energy = np.zeros(len(songs))  # of an average song: phrases have that of their motion, songs have none
        vectors = self._embed(
            _stacked([query.text for query in queries], config.text_dim, "text", 0.0),
            _rhythm(
                np.array([0.0 if song is None else song.tempo for song in songs]),
                np.array([None if song is None else song.beat_strength for song in songs], np.float64),
                energy,
            ),
            self._z_music(_stacked([song and song.summary for song in songs], len(SUMMARY), "music", np.nan)),
            self._z_stats(_stacked([query.stats for query in queries], len(STATS), "stats", np.nan)),
        )
        # Blocks are unit vectors times root weight, so the squared length is the sum of the weights present.
        weight = (vectors**2).sum(1, keepdims=True)
        return np.divide(vectors, weight, out=np.zeros_like(vectors), where=weight > _EPS).astype(np.float32)

    def cosines(self, queries: NDArray[np.floating], phrases: NDArray[np.floating]) -> Array:
        """Cosines (N, len(BLOCKS)) of query and phrase embeddings per block, row by row or broadcast; NaN: no block."""
        q, p = np.asarray(queries, np.float64), np.asarray(phrases, np.float64)
        out = []
        for block in self._blocks:
            length = np.linalg.norm(q[..., block], axis=-1) * np.linalg.norm(p[..., block], axis=-1)
            inner = (q[..., block] * p[..., block]).sum(-1)
            out.append(np.divide(inner, length, out=np.full(inner.shape, np.nan), where=length > _EPS))
        return np.clip(np.stack(out, axis=-1), -1, 1)

    def block(self, vectors: NDArray[np.floating], name: str) -> NDArray[np.floating]:
        """A view of the columns of one of `BLOCKS`."""
        return vectors[..., self._blocks[BLOCKS.index(name)]]

    def z_stats(self, stats: Sequence[Sequence[float]]) -> Array:
        """Motion statistics (N, 14) as clipped standard scores within the library."""
        return self._z_stats(_finite(np.asarray(stats, np.float64).reshape(-1, len(STATS)), "stats"))

    def _embed(self, text: NDArray[np.floating], rhythm: Array, music: Array, stats: Array) -> Array:
        cut = len(TIMBRE)  # SUMMARY is TIMBRE + PATTERN
        parts = (self._centred(text), rhythm, music[:, cut:], music[:, :cut], stats)
        blocks = [_unit(part) * np.sqrt(weight) for part, weight in zip(parts, self._weights, strict=True)]
        return np.concatenate(blocks, axis=1)

    def _centred(self, text: NDArray[np.floating]) -> Array:
        """Unit text vectors minus the library's mean; zeros stay zeros."""
        unit = _unit(text)
        return np.where(unit.any(1, keepdims=True), unit - self._centre, 0.0)

    def _z_music(self, music: Array) -> Array:
        return _z(music, self.config.summary_mean, self.config.summary_std)

    def _z_stats(self, stats: Array) -> Array:
        return _z(stats, self.config.stats_mean, self.config.stats_std)


def _rhythm(tempo: Array, beat_strength: Array, energy: Array) -> Array:
    """The rhythm block (N, 4): octave-folded tempo as a point on a circle, beat strength and energy.

    60, 120 and 240 BPM are the same point, and 85 is opposite. Zeros without a beat.
    """
    if not np.isfinite(tempo).all() or (tempo < 0).any() or np.isinf([beat_strength, energy]).any():
        raise InvalidInput("music", "tempo, beat strength and energy must be finite, and the tempo not negative")
    beating = tempo > 0
    angle = 2 * np.pi * np.log2(np.where(beating, tempo, 1.0))
    strength = np.nan_to_num(2 * beat_strength - 1)  # unknown: medium
    columns = np.stack(
        [np.cos(angle), np.sin(angle), _SIDE_GAIN * np.tanh(strength), _SIDE_GAIN * np.tanh(np.nan_to_num(energy))], 1
    )
    return columns * beating[:, None]


def _z(values: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """Clipped standard scores (N, C); rows with NaN become zeros."""
    z = np.clip((values - np.asarray(mean)) / np.asarray(std), -MAX_Z, MAX_Z)
    return np.where(np.isnan(z).any(1, keepdims=True), 0.0, z)


def _stacked(rows: Sequence[Any], dim: int, field: str, absent: float) -> Array:
    """Rows of `dim` finite numbers as float64 (N, dim), None replaced by `absent`."""
    out = np.full((len(rows), dim), absent)
    for i, row in enumerate(rows):
        if row is None:
            continue
        values = np.asarray(row, np.float64)
        if values.shape != (dim,):
            raise InvalidInput(field, f"must have {dim} numbers, got shape {values.shape}")
        out[i] = _finite(values, field)
    return out


def _finite(values: NDArray[Any], field: str) -> NDArray[Any]:
    if not np.isfinite(values).all():
        raise InvalidInput(field, "holds NaN or infinity")
    return values


def _unit(rows: NDArray[np.floating]) -> Array:
    """Rows / |row|, zeros where |row| is (nearly) zero."""
    values = np.asarray(rows, np.float64)
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, norm, out=np.zeros_like(values), where=norm > _EPS)


def _log_energy(energy: Array) -> Array:
    return np.log(np.maximum(energy, 0.0) + 1e-3)


def _rounded(values: Array, digits: int = 9) -> tuple[float, ...]:
    return tuple(round(float(v), digits) for v in values)
