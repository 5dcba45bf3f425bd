"""`choreo evaluate`: generated dances beside held-out mocap and beside controls, by every metric that applies.

Each sample dances to the caption and the music of one held-out stretch, so both sides have the same make-up. Half of
the stretches are mocap as it is; the other half is warped onto the beats of songs that training never hears, because
only there do music and motion agree to the frame.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from choreo.data.beat_pairing import paired_clips
from choreo.data.clip import Clip
from choreo.data.packs import is_validation, load_packs
from choreo.data.songs import HELD_OUT_SEED, loops, synthesized_songs
from choreo.errors import InvalidInput
from choreo.evaluation.motions import Motions
from choreo.evaluation.scorecard import Row, score
from choreo.evaluation.text_motion import TextMotionEncoder
from choreo.motion.representation import decode
from choreo.motion.skeleton import FPS, WINDOW
from choreo.music.beats import beats_of
from export.build import build_repository
from serving.engine import OnnxEngine
from serving.local import LocalStages
from serving.pipeline import Pipeline
from serving.request import Attachments, Job, make_job, parse_fields
from serving.settings import Settings

NOISE_METRES: Final = 0.02
"""Standard deviation of what the control `noise` adds to every joint of real motion."""
SONGS: Final = 6

Positions = NDArray[np.float32]


@dataclass(frozen=True)
class Stretch:
    """A held-out window.

    Attributes:
        positions: (196, 22, 3) of the mocap.
        caption: of it; a plain one where it has none.
        music: (196, F) features, or None.
        beats: seconds within it, or None without music.
    """

    positions: Positions
    caption: str
    music: NDArray[np.float32] | None
    beats: NDArray[np.float64] | None

    @classmethod
    def of(cls, clip: Clip, start: int, number: int) -> "Stretch":
        """Frames start..start + 195 of a clip, with one of the captions that touch them."""
        part = clip.part(start, start + WINDOW)
        caption = part.captions[number % len(part.captions)].text if part.captions else "a person dances"
        positions = decode(part.features).astype(np.float32)
        return cls(positions, caption, part.music, None if part.music is None else beats_of(part.rhythm))


async def evaluate(
    data: Path, samples: int, num_steps: int, settings: Settings, guidance_scale: float = 2.5, use_rag: bool = True
) -> list[Row]:
    """Rows of `choreo.evaluation.scorecard` for these subjects.

    gt: the held-out stretches; generated: one dance for each; shuffled: the same dances, each heard with the music of
    another; retrieval: the priors alone; noise: gt with jitter; mean_pose: gt, standing in the mean of its poses. The
    reference is the training side.

    Raises:
        InvalidInput: no data pack, or nothing held out in it.
    """
    clips = load_packs(data)
    reference = Motions("training", [s.positions for s in _windows(c for c in clips if not is_validation(c.group))])
    stretches = _stretches([c for c in clips if is_validation(c.group)], data, samples)
    if not stretches:
        raise InvalidInput("data", f"{data} holds no held-out clip of {WINDOW} frames")
    generated, priors = await _danced(stretches, num_steps, guidance_scale, use_rag, settings)
    embedder = TextMotionEncoder.load(settings.text_motion) if settings.text_motion.is_dir() else None
    truth = [s.positions for s in stretches]
    subjects: dict[str, Sequence[Positions]] = {
        "gt": truth,
        "generated": generated,
        "shuffled": generated,
        "noise": _noisy(truth),
        "mean_pose": [np.repeat(p.mean(0, keepdims=True), len(p), 0) for p in truth],
    }
    if all(prior is not None for prior in priors):
        subjects["retrieval"] = [prior for prior in priors if prior is not None]
    if embedder is not None:
        reference = dataclasses.replace(reference, motion_embeddings=_unit(embedder.motions(reference.positions)))
    rows: list[Row] = []
    for name, motions in subjects.items():
        rows += score(_subject(name, motions, stretches, embedder), reference)
    return rows


def _windows(clips: Iterable[Clip]) -> list[Stretch]:
    return [
        Stretch.of(clip, start, number)
        for clip in clips
        for number, start in enumerate(range(0, clip.num_frames - WINDOW + 1, WINDOW))
    ]


def _stretches(held_out: Sequence[Clip], data: Path, count: int) -> list[Stretch]:
    """Windows spread evenly over the recordings, and as many over those warped onto the beats of songs."""
    songs = [*synthesized_songs(SONGS, HELD_OUT_SEED), *loops(data / "audio", held_out=True)]
    plain, paired = _windows(held_out), _windows(paired_clips(held_out, songs, 1, HELD_OUT_SEED))
    out = []
    for found, wanted in ((plain, (count + 1) // 2), (paired, count // 2)):
        picks = np.linspace(0, max(len(found) - 1, 0), min(wanted, len(found))).astype(int)
        out += [found[i] for i in picks]
    return out


async def _danced(
    stretches: Sequence[Stretch], num_steps: int, guidance_scale: float, use_rag: bool, settings: Settings
) -> tuple[list[Positions], list[Positions | None]]:
    """A dance for each stretch, and the prior that it began from or would have begun from."""
    repository = build_repository(settings.weights, settings.model_repo)
    engine = OnnxEngine(repository.path, repository.spec, settings.threads)
    stages = LocalStages(engine, settings)
    pipeline = Pipeline(stages)
    generated, priors = [], []
    try:
        for number in track(range(len(stretches)), "dancing", transient=True):
            options = {"num_steps": num_steps, "guidance_scale": guidance_scale, "use_rag": use_rag, "seed": number}
            job = _job(stretches[number], options, settings)
            result = await pipeline.run(job)
            generated.append(np.asarray(result.motion.positions, np.float32))
            retrieved = await stages.retrieve(job, await stages.encode(job, repository.spec))
            prior = retrieved.prior
            priors.append(None if prior is None else decode(prior.features).astype(np.float32))
    finally:
        await engine.close()
    return generated, priors


def _job(stretch: Stretch, options: dict[str, Any], settings: Settings) -> Job:
    fields = {"text_prompt": stretch.caption, "duration": WINDOW / FPS, **options}
    return dataclasses.replace(make_job(parse_fields(fields), Attachments(), settings), features=stretch.music)


def _subject(
    name: str, positions: Sequence[Positions], stretches: Sequence[Stretch], embedder: TextMotionEncoder | None
) -> Motions:
    beats = [s.beats for s in stretches]
    if name == "shuffled":
        heard = [i for i, b in enumerate(beats) if b is not None]
        for i, j in zip(heard, np.roll(heard, 1), strict=True):
            beats[i] = stretches[j].beats
    captions = [s.caption for s in stretches]
    if embedder is None:
        return Motions(name, positions, beats=beats, captions=captions)
    texts, motions = embedder.texts(captions), embedder.motions(positions)
    return Motions(name, positions, FPS, beats, captions, _unit(texts), _unit(motions))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1: the encoder was trained on cosines; distances of distributions are STMC's "FID+" then."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _noisy(motions: Sequence[Positions]) -> list[Positions]:
    rng = np.random.default_rng(0)
    return [(p + rng.normal(0, NOISE_METRES, p.shape)).astype(np.float32) for p in motions]
