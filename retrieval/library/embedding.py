"""One space for phrases and queries: blocks for text, the music's rhythm, pattern and timbre, and motion.

Text vectors first lose most of the library's mean: what all captions share ("a person is ...") would otherwise drown
what tells them apart. Each block has unit length and is weighted by the square root of its weight, so the inner
product of two embeddings is the weighted mean of the blocks' cosines. A query is divided by the weight of the blocks
it has, so that its scores fill [-1, 1] whatever it knows; a block that the phrase lacks counts as neither like nor
unlike, cosine 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.text.encoders import TextEncoder
from retrieval.library.phrases import STATS, Phrase
from retrieval.library.song_summary import PATTERN, SUMMARY, TIMBRE

Array = NDArray[np.float64]
Vectors = NDArray[np.float32]

VERSION: Final = 2
"""Of the layout and the formulas below; a library with another one must be built again."""
RHYTHM_DIM: Final = 4
"""cos and sin on the tempo circle, beat strength, energy."""
MAX_Z: Final = 3.0
"""A number this many standard deviations out says all it can."""
TEXT_CENTRING: Final = 0.75
"""Share of the mean text vector that is taken off; with all of it, phrases of one sentence only would say nothing."""
_SIDE_GAIN: Final = 0.5
_SMALLEST_STD: Final = 1e-4
_EPS: Final = 1e-6
_CHUNK: Final = 65536


@dataclass(frozen=True)
class Weights:
    """How much each block counts; they need not add up to 1. The defaults are measured: see docs/retrieval.md."""

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
    """What embeddings need of N phrases besides their words, column by column; NaN where a phrase has nothing.

    Attributes:
        tempo, beat_strength, energy: (N,), as in `Phrase`.
        stats: (N, 14) motion statistics.
        music: (N, 30) summaries of their music.
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

    def part(self, rows: slice) -> Self:
        """Some of the rows."""
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True)
class EmbeddingConfig:
    """Everything an embedding depends on; it lies beside the index.

    Attributes:
        text_encoder, text_dim: the sentence encoder.
        weights: of the blocks.
        text_mean: of the library's text vectors of unit length; empty: zeros.
        stats, summary: names of the motion statistics and of the numbers that sum up music.
        stats_mean, stats_std: of the library's phrases.
        summary_mean, summary_std: of those of its phrases that have music.
        energy_mean, energy_std: of the logarithm of the phrases' kinetic energy.
        version: of the formulas.
    """

    text_encoder: str
    text_dim: int
    weights: Weights = Weights()
    text_mean: tuple[float, ...] = ()
    stats: tuple[str, ...] = STATS
    stats_mean: tuple[float, ...] = (0.0,) * len(STATS)
    stats_std: tuple[float, ...] = (1.0,) * len(STATS)
    summary: tuple[str, ...] = SUMMARY
    summary_mean: tuple[float, ...] = (0.0,) * len(SUMMARY)
    summary_std: tuple[float, ...] = (1.0,) * len(SUMMARY)
    energy_mean: float = 0.0
    energy_std: float = 1.0
    version: int = VERSION

    @property
    def dim(self) -> int:
        """Columns of an embedding."""
        return sum(self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Columns of each of `BLOCKS`."""
        return self.text_dim, RHYTHM_DIM, len(PATTERN), len(TIMBRE), len(self.stats)

    @property
    def parts(self) -> tuple[int, int, int]:
        """Columns of what a query has or lacks as a whole: text, music, motion."""
        text, *music, motion = self.sizes
        return text, sum(music), motion

    def fitted(
        self, phrases: Sequence[Phrase] | PhraseColumns, texts: NDArray[np.floating] | None = None
    ) -> "EmbeddingConfig":
        """The same with the statistics of these phrases, and of text vectors (N, E) if they are given."""
        columns = phrases if isinstance(phrases, PhraseColumns) else PhraseColumns.of(phrases)
        energy = _log_energy(columns.energy)
        heard = columns.music[~np.isnan(columns.music).any(1)]
        out = replace(
            self,
            stats_mean=_rounded(columns.stats.mean(0)),
            stats_std=_rounded(np.maximum(columns.stats.std(0), _SMALLEST_STD)),
            energy_mean=round(float(energy.mean()), 9),
            energy_std=round(float(max(energy.std(), _SMALLEST_STD)), 9),
        )
        if len(heard):
            means, stds = heard.mean(0), np.maximum(heard.std(0), _SMALLEST_STD)
            out = replace(out, summary_mean=_rounded(means), summary_std=_rounded(stds))
        if texts is not None and len(spoken := texts[np.any(texts, axis=1)]):
            out = replace(out, text_mean=_rounded(_unit(spoken).mean(0), 4))
        return out

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
            found = dict(values)
            if found.get("version") != VERSION:
                raise InvalidArtifact(
                    f"phrase embeddings are of version {found.get('version')}, this program's are of {VERSION}; "
                    "build the library again"
                )
            found["weights"] = Weights(**found["weights"])
            for name in ("text_mean", "stats", "stats_mean", "stats_std", "summary", "summary_mean", "summary_std"):
                found[name] = tuple(found[name])
            config = cls(**found)
            config._check()
        except (TypeError, KeyError, ValueError) as error:
            raise InvalidArtifact(f"the embedding's configuration is broken: {error}") from error
        return config

    def _check(self) -> None:
        if self.stats != STATS or self.summary != SUMMARY:
            raise InvalidArtifact("the library's statistics of motion or music are not this program's; build it again")
        means = np.array([*self.stats_mean, *self.summary_mean, *self.text_mean, self.energy_mean], np.float64)
        stds = np.array([*self.stats_std, *self.summary_std, self.energy_std], np.float64)
        lengths = (len(self.stats_mean), len(self.stats_std), len(self.summary_mean), len(self.summary_std))
        if lengths != 2 * (len(STATS),) + 2 * (len(SUMMARY),) or len(self.text_mean) not in (0, self.text_dim):
            raise ValueError("statistics are missing")
        if not (np.isfinite(means).all() and np.isfinite(stds).all()):
            raise ValueError("statistics are not finite")
        if stds.min() <= 0 or self.text_dim < 1:
            raise ValueError("standard deviations and text_dim must be positive")


@dataclass(frozen=True)
class Music:
    """What is known of a song.

    Attributes:
        tempo: beats per minute, 0 where there is no beat; halves and doubles are the same.
        beat_strength: see `retrieval.library.phrases.beat_strength`.
        energy: how lively, in standard deviations from an average song, None where unknown; phrases answer with
            the kinetic energy of their motion.
        summary: of the recording, see `retrieval.library.song_summary`; None where unknown.
    """

    tempo: float
    beat_strength: float | None = None
    energy: float | None = None
    summary: Sequence[float] | None = None


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

    def text_query(self, encoder: TextEncoder, text: str) -> Query:
        """A query of words only."""
        self.require(encoder.name, encoder.dim)
        return Query(text=encoder.encode([text])[0])

    def phrases(self, phrases: Sequence[Phrase] | PhraseColumns, texts: NDArray[np.floating]) -> Vectors:
        """Embeddings float32 (N, D) of phrases with text vectors (N, E); each of length 1 or less.

        Raises:
            InvalidInput: the text vectors do not fit, or a number is not finite.
        """
        columns = phrases if isinstance(phrases, PhraseColumns) else PhraseColumns.of(phrases)
        if texts.shape != (len(columns), self.config.text_dim):
            raise InvalidInput("texts", f"must have shape {(len(columns), self.config.text_dim)}, got {texts.shape}")
        out = np.zeros((len(columns), self.config.dim), np.float32)
        for first in range(0, len(columns), _CHUNK):
            rows = slice(first, first + _CHUNK)
            part = columns.part(rows)
            energy = (_log_energy(part.energy) - self.config.energy_mean) / self.config.energy_std
            out[rows] = self._embed(
                _finite(texts[rows], "texts"),
                _rhythm(part.tempo, part.beat_strength, energy),
                self._z_music(part.music),
                self._z_stats(part.stats),
            )
        return out

    def queries(self, queries: Sequence[Query]) -> Vectors:
        """Embeddings float32 (N, D) of queries; a row of zeros for one that says nothing.

        Raises:
            InvalidInput: a block has the wrong number of columns or is not finite.
        """
        config = self.config
        songs = [query.music for query in queries]
        vectors = self._embed(
            _stacked([query.text for query in queries], config.text_dim, "text", 0.0),
            _rhythm(
                np.array([0.0 if song is None else song.tempo for song in songs]),
                np.array([None if song is None else song.beat_strength for song in songs], np.float64),
                np.array([None if song is None else song.energy for song in songs], np.float64),
            ),
            self._z_music(_stacked([song and song.summary for song in songs], len(SUMMARY), "music", np.nan)),
            self._z_stats(_stacked([query.stats for query in queries], len(STATS), "stats", np.nan)),
        )
        # Unit blocks: the squared length is the sum of the weights that are there.
        weight = (vectors**2).sum(1, keepdims=True)
        return np.divide(vectors, weight, out=np.zeros_like(vectors), where=weight > _EPS).astype(np.float32)

    def cosines(self, queries: NDArray[np.floating], phrases: NDArray[np.floating]) -> Array:
        """Cosines of each block, (N, len(BLOCKS)), of embeddings of queries and of phrases, row by row or broadcast.

        NaN where the query or the phrase lacks the block.
        """
        q, p = np.asarray(queries, np.float64), np.asarray(phrases, np.float64)
        out = []
        for block in self._blocks:
            length = np.linalg.norm(q[..., block], axis=-1) * np.linalg.norm(p[..., block], axis=-1)
            inner = (q[..., block] * p[..., block]).sum(-1)
            out.append(np.divide(inner, length, out=np.full(inner.shape, np.nan), where=length > _EPS))
        return np.clip(np.stack(out, axis=-1), -1, 1)

    def block(self, vectors: NDArray[np.floating], name: str) -> NDArray[np.floating]:
        """Columns of one of `BLOCKS`, a view."""
        return vectors[..., self._blocks[BLOCKS.index(name)]]

    def z_stats(self, stats: Sequence[Sequence[float]]) -> Array:
        """Motion statistics (N, 14) in clipped standard deviations from the library's mean."""
        return self._z_stats(_finite(np.asarray(stats, np.float64).reshape(-1, len(STATS)), "stats"))

    def _embed(self, text: NDArray[np.floating], rhythm: Array, music: Array, stats: Array) -> Array:
        cut = len(TIMBRE)  # SUMMARY is TIMBRE + PATTERN
        parts = (self._centred(text), rhythm, music[:, cut:], music[:, :cut], stats)
        blocks = [_unit(part) * np.sqrt(weight) for part, weight in zip(parts, self._weights, strict=True)]
        return np.concatenate(blocks, axis=1)

    def _centred(self, text: NDArray[np.floating]) -> Array:
        """Unit text vectors without what they share; zeros stay zeros."""
        unit = _unit(text)
        return np.where(unit.any(1, keepdims=True), unit - self._centre, 0.0)

    def _z_music(self, music: Array) -> Array:
        return _z(music, self.config.summary_mean, self.config.summary_std)

    def _z_stats(self, stats: Array) -> Array:
        return _z(stats, self.config.stats_mean, self.config.stats_std)


def _rhythm(tempo: Array, beat_strength: Array, energy: Array) -> Array:
    """Octave-folded tempo on a circle, so that 60, 120 and 240 BPM are one point and 85 is opposite; then liveliness.

    Zeros where there is no beat: the rest says too little to search by.
    """
    if not np.isfinite(tempo).all() or (tempo < 0).any() or np.isinf([beat_strength, energy]).any():
        raise InvalidInput("music", "tempo, beat strength and energy must be finite, and the tempo not negative")
    beating = tempo > 0
    angle = 2 * np.pi * np.log2(np.where(beating, tempo, 1.0))
    strength = np.nan_to_num(2 * beat_strength - 1)  # unknown: neither strong nor weak
    columns = np.stack(
        [np.cos(angle), np.sin(angle), _SIDE_GAIN * np.tanh(strength), _SIDE_GAIN * np.tanh(np.nan_to_num(energy))], 1
    )
    return columns * beating[:, None]


def _z(values: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """Clipped standard scores (N, C), rows of zeros where there is NaN."""
    z = np.clip((values - np.asarray(mean)) / np.asarray(std), -MAX_Z, MAX_Z)
    return np.where(np.isnan(z).any(1, keepdims=True), 0.0, z)


def _stacked(rows: Sequence[Any], dim: int, field: str, absent: float) -> Array:
    """Float64 (N, dim) of rows of `dim` finite numbers, None filled with `absent`."""
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
    """Rows / |row|, or zeros where that is (next to) nothing."""
    values = np.asarray(rows, np.float64)
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, norm, out=np.zeros_like(values), where=norm > _EPS)


def _log_energy(energy: Array) -> Array:
    return np.log(np.maximum(energy, 0.0) + 1e-3)


def _rounded(values: Array, digits: int = 9) -> tuple[float, ...]:
    return tuple(round(float(v), digits) for v in values)
