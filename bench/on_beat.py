"""How well dances meet the beats of their songs: as sampled, with pauses moved to the beats, as the best of several.

Every case has the same songs and seeds: `off` and `warp` are the means of all samples, without and with the warp of
`choreo.postprocess.on_beat`; `best` and `both` are the sample that `num_samples` would choose, without and with it.
Only songs with sure beats count. The control is the mean score against the sure beats of all other songs: where it
rises as well, a dance pauses more often, and not on the beat. Intervals are 95 % by bootstrap over songs. Every second
dance has a prompt.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray

from bench.bodies import PROMPTS, TIMEOUT_S
from bench.command import DATA, benchmark, quick
from bench.report import Row, skipped
from choreo.command_line import say
from choreo.diffusion.presets import PRESETS
from choreo.evaluation.beat_alignment import beat_alignment_score
from choreo.evaluation.kinematics import jerk, kinetic_energy
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.skeleton import WINDOW
from choreo.music.song_beats import SongBeats
from choreo.music.song_names import SUFFIXES
from choreo.postprocess.on_beat import beat_warp
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.fields import parse_fields
from serving.pipeline.phrases import PhraseQuery
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.results import SampleScore, SamplingResult
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.finisher import finish_request
from serving.stages.local import LocalPipeline
from serving.stages.ranking import TextScores, choose, score

CASES: Final = ("off", "warp", "best", "both")
METRICS: Final = {
    "own beats": "0 to 1", "other songs' beats": "0 to 1", "kinetic energy": "m^2/s^2", "jerk": "m/s^3",
    "skating": "share of frames",
}  # fmt: skip
SCORES: Final = ("beats", "skating", "text")
DRAWS: Final = 2000


@dataclass
class Dances:
    """All cases of one song and group of seeds.

    Attributes:
        positions: by case, one (T, 22, 3) or several, whose figures are averaged.
        scores: of the samples without the warp.
        milliseconds: of the warp, per 196 frames.
    """

    song: str
    positions: dict[str, list[NDArray[np.float32]]]
    scores: list[SampleScore]
    milliseconds: float


@dataclass
class Found:
    """What was danced so far, and the beats of the songs."""

    beats: dict[str, SongBeats] = field(default_factory=dict)
    dances: list[Dances] = field(default_factory=list)


@benchmark
def main(
    data: Annotated[Path | None, DATA] = None,
    groups: Annotated[int, typer.Option(min=1, max=1000, help="Groups of seeds for each song.")] = 2,
    samples: Annotated[int, typer.Option(min=2, max=16, help="Samples, of which the best is chosen.")] = 4,
    seconds: Annotated[float, typer.Option(min=3, max=60, help="Length of each dance.")] = 10.0,
    preset: Annotated[str, typer.Option(help=f"One of {', '.join(PRESETS)}.")] = "reference",
    quick: Annotated[bool, quick("four songs, one group of seeds")] = False,
) -> Iterator[Row]:
    """Scores of each case, gains over `off`, and what the warp costs."""
    songs = [] if data is None else sorted((data / "audio").glob("*"))
    songs = [path for path in songs if path.suffix.lower() in SUFFIXES and "_test" not in path.stem]
    if not songs:
        yield skipped("on_beat", "give --data, a folder whose audio folder has songs")
        return
    fields = {"duration": seconds, "preset": preset, "num_samples": samples, "timeout": TIMEOUT_S}
    found = asyncio.run(_danced(songs, fields, 1 if quick else groups, 4 if quick else len(songs)))
    if len(found.beats) < 2:
        yield skipped("on_beat", "fewer than two songs have sure beats")
        return
    yield from rows(found)


async def _danced(songs: Sequence[Path], fields: dict[str, object], groups: int, most: int) -> Found:
    """Dances to the first songs that have sure beats."""
    settings, found = Settings(), Found()
    texts = TextScores(settings.text_motion)
    async with LocalPipeline(settings) as pipeline:
        for path in songs:
            if len(found.beats) == most:
                break
            for group in range(groups):
                own = fields | {"seed": group * int(str(fields["num_samples"]))}
                if len(found.dances) % 2:
                    own["text_prompt"] = PROMPTS[len(found.dances) // 2 % len(PROMPTS)]
                request = validated_request(parse_fields(own), Attachments(audio=path.read_bytes()), settings)
                encoded = await pipeline.stages.encoder.encode(request, pipeline.spec)
                if not (encoded.beats.sure < encoded.num_frames / pipeline.spec.fps).any():
                    say(f"{path.name}: no sure beats")
                    break
                found.beats[path.name] = encoded.beats
                sampled = await _sampled(pipeline, request.without_song(), encoded)
                found.dances.append(_cases(path.name, request.without_song(), encoded.beats, sampled, texts))
            say(f"{path.name}: {len(found.dances)} dances so far")
    return found


async def _sampled(pipeline: LocalPipeline, request: MotionRequest, encoded: EncodedRequest) -> list[SamplingResult]:
    retrieved = await pipeline.stages.retriever.retrieve(PhraseQuery.of(request, encoded))
    sampled = await pipeline.stages.sampler.samples(request, encoded.conditioning, retrieved.prior)
    return [sample for sample in sampled if sample is not None]


def _cases(
    song: str, request: MotionRequest, beats: SongBeats, samples: list[SamplingResult], texts: TextScores
) -> Dances:
    positions, kept = dict[str, list[NDArray[np.float32]]](), list[SampleScore]()
    for on_beat, every, best in ((False, "off", "best"), (None, "warp", "both")):
        wanted = replace(request, finish=replace(request.finish, on_beat=on_beat))
        done = [finish_request(wanted, sampled, {}, beats)[0] for sampled in samples]
        scores = choose([score(i, dance, beats.sure, request.text, texts) for i, dance in enumerate(done)])
        chosen = next(i for i, each in enumerate(scores) if each.chosen)
        positions[every] = [dance.dancers[0].positions for dance in done]
        positions[best] = [done[chosen].dancers[0].positions]
        kept = kept or scores
    began = time.perf_counter()
    raw = positions["off"][0]
    beat_warp([raw], beats.sure).of(raw)
    return Dances(song, positions, kept, 1e3 * (time.perf_counter() - began) * WINDOW / len(raw))


def rows(found: Found) -> Iterator[Row]:
    """All rows, from dances to two songs or more."""
    songs = [dances.song for dances in found.dances]
    yield Row("on_beat", "songs", len(found.beats), "")
    yield Row("on_beat", "dances of each case", len(songs), "")
    table = {case: np.array([_measured(dances, case, found.beats) for dances in found.dances]) for case in CASES}
    for case in CASES:
        for column, (metric, unit) in enumerate(METRICS.items()):
            yield from _with_interval(case, metric, unit, table[case][:, column], songs)
            if case != "off":
                gain = table[case][:, column] - table["off"][:, column]
                yield from _with_interval(case, f"{metric}, less off", unit, gain, songs)
    for name in SCORES:
        spreads = [_spread(dances.scores, name) for dances in found.dances]
        known = [spread for spread in spreads if spread is not None]
        if known:
            yield Row("seeds", f"standard deviation of {name}", round(float(np.sqrt(np.mean(known))), 4), "0 to 1")
    yield Row("warp", "cost", round(float(np.median([d.milliseconds for d in found.dances])), 2), "ms per window")


def _measured(dances: Dances, case: str, beats: dict[str, SongBeats]) -> NDArray[np.float64]:
    """The metrics of a case; NaN where the dance is too short for a beat."""
    others = [each.sure for name, each in beats.items() if name != dances.song]
    values = [
        [
            _score(positions, beats[dances.song].sure),
            float(np.nanmean([_score(positions, other) for other in others])),
            kinetic_energy(positions),
            jerk(positions),
            foot_skating_ratio(positions),
        ]
        for positions in dances.positions[case]
    ]
    return np.mean(np.array(values), axis=0)


def _score(positions: NDArray[np.float32], beats: NDArray[np.float64]) -> float:
    found = beat_alignment_score(positions, beats)
    return np.nan if found is None else found


def _with_interval(
    case: str, metric: str, unit: str, values: NDArray[np.float64], songs: Sequence[str]
) -> Iterator[Row]:
    low, high = bootstrap(values, songs)
    yield Row(case, metric, round(float(np.nanmean(values)), 4), unit)
    yield Row(case, f"{metric}, from", round(low, 4), unit)
    yield Row(case, f"{metric}, to", round(high, 4), unit)


def bootstrap(values: NDArray[np.float64], groups: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean whose observations belong to groups, such as dances to the same song.

    Groups are drawn with replacement and keep all of their observations (cluster bootstrap, percentile interval).
    """
    names = sorted(set(groups))
    members = [np.array([i for i, group in enumerate(groups) if group == name]) for name in names]
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(DRAWS):
        drawn = np.concatenate([members[i] for i in rng.integers(0, len(names), len(names))])
        means.append(float(np.nanmean(values[drawn])))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _spread(scores: Sequence[SampleScore], name: str) -> float | None:
    """Variance of a score between the samples of one request."""
    values = [getattr(each, name) for each in scores]
    known = [value for value in values if value is not None]
    return float(np.var(known, ddof=1)) if len(known) > 1 else None


if __name__ == "__main__":
    sys.exit(main())
