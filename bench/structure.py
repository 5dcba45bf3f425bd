"""Sections of songs, and whether dances come again with them.

Songs are synthesised, of known forms (`choreo.data.synthetic.song_forms`). `music` tells how well sections are found,
beside a grid of eight true bars whose sections all differ. The dances of every song have the same seed and are `plain`,
`repeated` as `repeat_sections` does, and `shuffled`: sections repeat others than those of their label. Bars of a dance
are compared by joint positions, seen from the root and its heading. Spans that are repeated are compared with their
models, and the jerk is measured within a quarter of a second of their ends as well; in all cases at the same frames.
Intervals are 95 % by bootstrap over songs.
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise
from typing import Annotated, Final

import numpy as np
import soundfile
import typer
from numpy.typing import NDArray

from bench.bodies import TIMEOUT_S
from bench.command import benchmark, quick
from bench.on_beat import bootstrap
from bench.report import Row
from choreo.command_line import say
from choreo.data.synthetic.song_forms import FORMS, FormedSong, formed_song
from choreo.diffusion.presets import PRESETS
from choreo.evaluation.beat_alignment import beat_alignment_score
from choreo.evaluation.kinematics import jerk, kinetic_energy
from choreo.evaluation.song_structure import boundary_f_measure, label_agreement
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.kinematics import heading
from choreo.motion.rotations import yaw
from choreo.motion.skeleton import FPS, PELVIS
from choreo.music.encoded import MusicFeatures
from choreo.music.encoders import DSP35
from choreo.music.repeats import repeated_frames
from choreo.music.structure import Section, bar_vectors, find_sections
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.fields import parse_fields
from serving.pipeline.phrases import PhraseQuery
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.finisher import finish_request
from serving.stages.local import LocalPipeline

Array = NDArray[np.float64]

CASES: Final = ("plain", "repeated", "shuffled")
METRICS: Final = {
    "correlation with the music": "-1 to 1", "distance of repeated bars": "m", "distance of other bars": "m",
    "beats": "0 to 1", "skating": "share of frames", "kinetic energy": "m^2/s^2", "jerk": "m/s^3",
    "skating of repeated spans, less that of their models": "share of frames", "jerk at their ends": "m/s^3",
}  # fmt: skip
POINTS: Final = 16
"""Moments of a bar at which poses are compared."""
GRID_BARS: Final = 8
NEAR: Final = 8
"""Frames before and after the end of a span."""


@dataclass
class Measured:
    """What was measured of one song: its sections, and its dances by case."""

    music: dict[str, float]
    dances: dict[str, Array]


@benchmark
def main(
    songs: Annotated[int, typer.Option(min=2, max=100, help="Songs, each of another form, tempo and seed.")] = 6,
    bars: Annotated[int, typer.Option(min=4, max=32, help="Bars of a section.")] = 8,
    preset: Annotated[str, typer.Option(help=f"One of {', '.join(PRESETS)}.")] = "fast",
    quick: Annotated[bool, quick("two songs of short sections")] = False,
) -> Iterator[Row]:
    """How well sections are found, and the measures of each case, with differences from `plain`."""
    forms = ("ABA", "ABAB") if quick else [FORMS[i % len(FORMS)] for i in range(songs)]
    made = [_song(i, form, 4 if quick else bars) for i, form in enumerate(forms)]
    found = asyncio.run(_measured(made, {"preset": preset, "timeout": TIMEOUT_S, "repeat_sections": True}))
    yield Row("music", "songs", len(found), "")
    for metric in found[0].music:
        yield Row("music", metric, round(float(np.mean([each.music[metric] for each in found])), 3), "0 to 1")
    plain = np.stack([each.dances["plain"] for each in found])
    for case in CASES:
        values = np.stack([each.dances[case] for each in found])
        for column, (metric, unit) in enumerate(METRICS.items()):
            yield Row(case, metric, round(float(np.nanmean(values[:, column])), 4), unit)
            if case != "plain":
                gain = values[:, column] - plain[:, column]
                low, high = bootstrap(gain, [str(i) for i in range(len(gain))])
                yield Row(case, f"{metric}, less plain", round(float(np.nanmean(gain)), 4), unit)
                yield Row(case, f"{metric}, less plain, from", round(low, 4), unit)
                yield Row(case, f"{metric}, less plain, to", round(high, 4), unit)


def _song(number: int, form: str, bars: int) -> FormedSong:
    style = ("house", "breakbeat", "waltz")[number % 3]
    tempo = 100.0 + 7 * (number % 6) + (50 if style == "waltz" else 0)
    return formed_song(form, bars, tempo, 100 + number, style)


async def _measured(songs: Sequence[FormedSong], fields: dict[str, object]) -> list[Measured]:
    out = []
    async with LocalPipeline(Settings()) as pipeline:
        for number, song in enumerate(songs):
            file = BytesIO()
            soundfile.write(file, song.audio.samples, song.audio.sample_rate, format="WAV")
            request = validated_request(
                parse_fields(fields | {"seed": number}), Attachments(audio=file.getvalue()), Settings()
            )
            encoded = await pipeline.stages.encoder.encode(request, pipeline.spec)
            light, heard = request.without_song(), DSP35.encode(song.audio)
            likeness = _music_likeness(heard, song)
            dances = {}
            for case in CASES:
                positions = await _danced(pipeline, light, encoded, case, number)
                dances[case] = np.append(_figures(positions, song, likeness), _repeated(positions, encoded))
            out.append(Measured(_music(song, find_sections(heard)), dances))
            say(f"song {number + 1} of {len(songs)}: {''.join(song.labels)}, {song.audio.seconds:.0f} s")
    return out


async def _danced(
    pipeline: LocalPipeline, request: MotionRequest, encoded: EncodedRequest, case: str, seed: int
) -> Array:
    """Positions (T, 22, 3) of one case."""
    repeats = encoded.conditioning.repeats
    if case == "shuffled":
        repeats = repeated_frames(shuffled(encoded.sections, seed), encoded.num_frames)
    retrieved = await pipeline.stages.retriever.retrieve(PhraseQuery.of(request, encoded))
    conditioning = replace(encoded.conditioning, repeats=None if case == "plain" else repeats)
    sampled = await pipeline.stages.sampler.sample(request, conditioning, retrieved.prior)
    return np.asarray(finish_request(request, sampled, {}, encoded.beats)[0].dancers[0].positions, np.float64)


def shuffled(sections: Sequence[Section], seed: int) -> list[Section]:
    """The sections with labels of each other, so that at least two of them repeat what is not theirs."""
    labels = [section.label for section in sections]
    rng = np.random.default_rng(seed)
    if len(set(labels)) < 2:
        return list(sections)
    mixed = labels
    for _ in range(100):
        mixed = [str(label) for label in rng.permutation(labels)]
        if partition(mixed) != partition(labels):
            break
    return [Section(label, section.bars) for label, section in zip(mixed, sections, strict=True)]


def partition(labels: Sequence[str]) -> list[int]:
    """Labels as numbers in the order of their first appearance."""
    return [labels.index(label) for label in labels]


def _music(song: FormedSong, found: Sequence[Section]) -> dict[str, float]:
    edges = np.array([section.start for section in found] + [found[-1].end]) if found else np.zeros(1)
    labels = [section.label for section in found]
    known, known_labels = merged(song)
    grid = song.downbeats[GRID_BARS::GRID_BARS]
    every = np.append(song.downbeats[::GRID_BARS], song.edges[-1])
    seconds = song.audio.seconds
    return {
        "boundaries within 0.5 s": boundary_f_measure(known[1:-1], edges[1:-1]),
        "boundaries within 3 s": boundary_f_measure(known[1:-1], edges[1:-1], 3.0),
        "labels": label_agreement((known, known_labels), (edges, labels), seconds),
        "boundaries within 0.5 s, grid": boundary_f_measure(known[1:-1], grid),
        "labels, grid": label_agreement(
            (known, known_labels), (every, [str(i) for i in range(len(every) - 1)]), seconds
        ),
    }


def merged(song: FormedSong) -> tuple[Array, list[str]]:
    """Edges and labels of a song, neighbours of one label as one section."""
    keep = [i for i, label in enumerate(song.labels) if not i or song.labels[i - 1] != label]
    return np.append(song.edges[keep], song.edges[-1]), [song.labels[i] for i in keep]


def _music_likeness(heard: MusicFeatures, song: FormedSong) -> Array:
    """How like bars of the music are, (B, B)."""
    bars = bar_vectors(heard, np.append(song.downbeats, song.edges[-1]))
    return -((bars[:, None] - bars[None]) ** 2).sum(axis=-1)


def bar_poses(positions: Array, edges: Array) -> Array:
    """Joints (B, 16, 22, 3) at moments of each bar, seen from the root and its heading at that moment."""
    centred = positions - positions[:, PELVIS : PELVIS + 1] * (1, 0, 1)
    turned = np.einsum("tab,tjb->tja", np.stack([yaw(-angle) for angle in heading(positions)]), centred)
    moments = edges[:-1, None] + np.diff(edges)[:, None] * np.arange(POINTS) / POINTS
    frames = np.minimum(np.rint(moments * FPS).astype(np.int64), len(positions) - 1)
    return turned[frames]


def _figures(positions: Array, song: FormedSong, likeness: Array) -> Array:
    """The metrics of a dance, (M,)."""
    bars = bar_poses(positions, np.append(song.downbeats, song.edges[-1]))
    distance = np.array([np.linalg.norm(bars - bar, axis=-1).mean(axis=(1, 2)) for bar in bars])
    pairs = np.triu_indices(len(bars), 1)
    section = np.searchsorted(song.edges, song.downbeats + 1e-3) - 1
    place = np.arange(len(bars)) - np.searchsorted(section, section)
    label = np.array([ord(song.labels[i]) for i in section])
    again = (label[pairs[0]] == label[pairs[1]]) & (place[pairs[0]] == place[pairs[1]])
    score = beat_alignment_score(positions, song.beats)
    return np.array([
        np.corrcoef(-distance[pairs], likeness[pairs])[0, 1],
        distance[pairs][again].mean() if again.any() else np.nan,
        distance[pairs][label[pairs[0]] != label[pairs[1]]].mean(),
        np.nan if score is None else score,
        foot_skating_ratio(positions),
        kinetic_energy(positions),
        jerk(positions),
    ])  # fmt: skip


def _repeated(positions: Array, encoded: EncodedRequest) -> Array:
    """Skating of repeated spans less that of their models, and jerk at their ends, (2,); NaN without any."""
    places = encoded.conditioning.repeats
    if places is None:
        return np.full(2, np.nan)
    seams = np.flatnonzero(np.abs(np.diff(places) - 1) > 0.5) + 1
    spans = [(a, b) for a, b in pairwise([0, *seams, len(places)]) if places[a] != a and b - a > FPS]
    models = [(round(places[a]), round(places[b - 1]) + 1) for a, b in spans]
    skating = [[foot_skating_ratio(positions[a:b]) for a, b in each] for each in (spans, models)]
    near = [positions[max(seam - NEAR, 0) : seam + NEAR] for seam in seams]
    return np.array([np.mean(skating[0]) - np.mean(skating[1]), np.mean([jerk(each) for each in near])])


if __name__ == "__main__":
    sys.exit(main())
