"""The quality of motion priors, relative to the phrases that they are made of.

A library of the training split is searched for each held-out song and each held-out caption, and priors are built from
what is found. Every metric is also computed on the phrases themselves, each on its own beats and weighted by its share
of the prior; a ratio of 1 means that a prior is as good as its phrases. Ratios are of means over requests, with 95 %
intervals by bootstrap over dances.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray

from bench.command import DATA, benchmark, quick
from bench.report import Row
from choreo.command_line import say
from choreo.data.layouts.packs import DataPack, group_of, is_validation
from choreo.evaluation.beat_alignment import beat_alignment_score, motion_beat_alignment
from choreo.evaluation.kinematics import bone_length_deviation, jerk
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.representation import decode
from choreo.motion.skeleton import FPS, WINDOW
from choreo.music.beats import tempo_of
from choreo.text.encoders import TextEncoder, text_encoder
from retrieval.building.build import build_library
from retrieval.building.sources import open_sources
from retrieval.library.embedding import Music, Query
from retrieval.library.library import Hit, PhraseLibrary
from retrieval.library.phrases import Phrase
from retrieval.library.song_summary import song_summary
from retrieval.prior.prior import build_prior
from retrieval.search.finder import PhraseFinder, PhraseRequest

Array = NDArray[np.float64]

LENGTHS: Final = {"window": WINDOW, "minute": 60 * FPS}
HITS: Final = (1, 3)
METRICS: Final = ("bone_length_deviation", "foot_skating", "bas", "ba", "jerk", "peak_speed", "peak_acceleration")
RESAMPLES: Final = 2000
CAPTION_TEMPO: Final = 112.0
"""Tempo of the artificial beats of a request without a song, beats per minute."""
_SEAM: Final = (3, 14)
"""Number of frames before and after a seam that count as the seam."""


@dataclass(frozen=True)
class Request:
    """A request for a prior.

    Attributes:
        group: held-out dance or take of the song or caption.
        query: the song's music, or the encoded caption.
        text: the caption, or empty.
        beats: beat times in seconds, for at least a minute.
    """

    group: str
    query: Query
    text: str
    beats: Array


@benchmark
def main(
    data: Annotated[Path, DATA],
    library: Annotated[Path | None, typer.Option(help="Training library; built here if missing.")] = None,
    quick: Annotated[bool, quick("a third of the requests")] = False,
) -> Iterator[Row]:
    """Songs first, then captions."""
    encoder = text_encoder("minilm")
    with tempfile.TemporaryDirectory() as folder:
        path = library or Path(folder) / "library"
        if not path.exists():
            build_training_library(data, path, encoder)
        opened = PhraseLibrary.open(path, (encoder.name, encoder.dim))
        requests = read_requests(DataPack(data), encoder)[:: 3 if quick else 1]
        for kind in ("song", "caption"):
            yield from _rows(opened, kind, requests)


def build_training_library(data: Path, out: Path, encoder: TextEncoder) -> None:
    """Build a library of the recordings that are not held out."""
    recordings = [r for r in open_sources(data).recordings if not is_validation(group_of(r.name))]
    say(f"building a library of {len(recordings)} recordings")
    report = build_library(recordings, out, encoder)
    say(f"{report.phrases} phrases")


def read_requests(pack: DataPack, encoder: TextEncoder) -> list[Request]:
    """One request per held-out song, and one per held-out recording with a caption."""
    out = []
    for key in pack.keys:
        group = group_of(key)
        if not is_validation(group):
            continue
        recording = pack.recording(key)
        if recording.music is not None and len(recording.beats) > 2:
            music = Music(tempo_of(recording.beats), summary=song_summary(recording.music, recording.beats))
            out.append(Request(group, Query(music=music), "", continued(recording.beats)))
        if recording.captions:
            text = recording.captions[0].text
            beats = np.arange(0.3, 61, 60 / CAPTION_TEMPO)
            out.append(Request(group, Query(text=encoder.encode([text])[0]), text, beats))
    return out


def continued(beats: Sequence[float] | Array) -> Array:
    """Beats extended to a minute at their median period."""
    times = np.asarray(beats, np.float64)
    period = float(np.median(np.diff(times)))
    more = times[-1] + period * np.arange(1, max(0, int((61 - times[-1]) / period)) + 1)
    return np.concatenate([times, more])


def _rows(library: PhraseLibrary, kind: str, requests: Sequence[Request]) -> Iterator[Row]:
    asked = [request for request in requests if bool(request.text) == (kind == "caption")]
    finder = PhraseFinder(library)
    found = finder.find([PhraseRequest(request.query, request.text, top_n=max(HITS)) for request in asked])
    for name, frames in LENGTHS.items():
        for count in HITS:
            case = f"{kind} {name} {count} {'hit' if count == 1 else 'hits'}"
            say(case)
            pairs = [(r, hits[:count]) for r, hits in zip(asked, found, strict=True) if hits]
            measured = [measure(library, hits, frames, r.beats) for r, hits in pairs]
            yield from _compared(case, measured, [r.group for r, _ in pairs])


@dataclass(frozen=True)
class Measured:
    """Metrics (M,) of a prior and of its phrases, NaN where undefined, with build time and number of seams."""

    prior: Array
    phrases: Array
    milliseconds: float
    seams: int


def measure(library: PhraseLibrary, hits: Sequence[Hit], frames: int, beats: Array) -> Measured:
    """Build one prior and compare it with its phrases."""
    began = time.perf_counter()
    prior = build_prior(library, hits, frames, beats)
    took = 1000 * (time.perf_counter() - began)
    positions = decode(prior.features)
    about = np.zeros(frames, np.bool_)
    for seam in prior.seams:
        about[max(0, seam - _SEAM[0]) : seam + _SEAM[1]] = True
    weights = {used["id"]: used["weight"] for used in prior.phrases}
    own = [(weights[hit.phrase.id], _own(library, hit.phrase)) for hit in hits if hit.phrase.id in weights]
    values = np.array([value for _, value in own])
    share = np.array([weight for weight, _ in own])[:, None] * np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean = (share * np.nan_to_num(values)).sum(0) / share.sum(0)
    # The worst moment of a seam is compared with the worst moment of any phrase.
    mean[5:] = values[:, 5:].max(0)
    return Measured(metrics(positions, beats, about), mean, took, len(prior.seams))


def _own(library: PhraseLibrary, phrase: Phrase) -> Array:
    positions = library.motion(phrase)
    return metrics(positions, phrase.beats, np.ones(len(positions), np.bool_))


def metrics(positions: NDArray[np.floating], beats: Sequence[float] | Array, about: NDArray[np.bool_]) -> Array:
    """The metrics named in METRICS (M,); peaks are over the frames selected by `about` (T,)."""
    p = np.asarray(positions, np.float64)
    speed = np.linalg.norm(np.diff(p, axis=0), axis=-1).max(1) * FPS
    acceleration = np.linalg.norm(np.diff(p, n=2, axis=0), axis=-1).max(1) * FPS**2
    values = (
        bone_length_deviation(p),
        foot_skating_ratio(p),
        beat_alignment_score(p, beats),
        motion_beat_alignment(p, beats),
        jerk(p),
        speed[about[1:]].max() if about[1:].any() else None,
        acceleration[about[1:-1]].max() if about[1:-1].any() else None,
    )
    return np.array([np.nan if value is None else value for value in values])


def _compared(case: str, measured: Sequence[Measured], groups: Sequence[str]) -> Iterator[Row]:
    prior, phrases = (np.stack([getattr(m, side) for m in measured]) for side in ("prior", "phrases"))
    yield Row(case, "requests", len(measured), "")
    yield Row(case, "seams", float(np.mean([m.seams for m in measured])), "per prior")
    yield Row(case, "median_ms", float(np.median([m.milliseconds for m in measured])), "ms")
    yield Row(case, "worst_ms", max(m.milliseconds for m in measured), "ms")
    draws = _resampled(groups)
    for column, metric in enumerate(METRICS):
        one, other = prior[:, column], phrases[:, column]
        known = np.isfinite(one) & np.isfinite(other)
        if not known.any():
            continue
        yield Row(case, f"{metric}.n", float(known.sum()), "requests")
        yield Row(case, f"{metric}.prior", float(one[known].mean()), "")
        yield Row(case, f"{metric}.phrases", float(other[known].mean()), "")
        yield Row(case, f"{metric}.ratio", float(one[known].mean() / other[known].mean()), "")
        ratios = (draws * known) @ np.nan_to_num(one) / np.maximum((draws * known) @ np.nan_to_num(other), 1e-12)
        for name, percent in (("low", 2.5), ("high", 97.5)):
            yield Row(case, f"{metric}.ratio_{name}", float(np.percentile(ratios, percent)), "95 % interval")


def _resampled(groups: Sequence[str]) -> Array:
    """Number of times (RESAMPLES, N) that each request is in a bootstrap sample of dances."""
    names, which = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(0)
    return rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)[:, which].astype(np.float64)


if __name__ == "__main__":
    sys.exit(main())
