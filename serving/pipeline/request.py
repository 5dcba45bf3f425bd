"""What a caller may ask for, checked once at the edge; everything behind it works on a `MotionRequest`."""

import math
import secrets
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from choreo.diffusion.presets import Preset, preset
from choreo.diffusion.samplers import sampler
from choreo.errors import InvalidInput
from choreo.generators.constraints import FREE, Constraints, check_length
from choreo.motion.clip import Motion
from choreo.motion.formats.formats import FORMAT_NAMES, Format
from choreo.motion.formats.view import View
from choreo.motion.frame_rate import check_rate
from choreo.motion.resample import resampled_frames
from choreo.motion.skeleton import FPS, WINDOW
from choreo.motion.upright import AUTO, UP_CHOICES
from choreo.music.encoded import load_features
from choreo.music.rhythm import AS_HEARD, MAX_BEATS, MIN_BEATS, Rhythm, said
from choreo.postprocess.options import FinishOptions
from choreo.text.prompts import check_text
from retrieval.library.filters import EVERYTHING, PhraseFilter
from serving.pipeline.directing import (
    MAX_ITEMS,
    ConstraintFields,
    Segment,
    SegmentFields,
    made_constraints,
    made_segments,
)
from serving.pipeline.given_motion import given_motion
from serving.pipeline.guidance import check_guidance
from serving.settings import Settings

MAX_SEED = 2**63 - 1
MAX_NAMES, MAX_NAME_CHARS = 32, 64
"""Names in a list of genres or licences, and their length."""
TEMPOS = (1.0, 1000.0)
"""Beats per minute that a filter may name."""


class Priority(StrEnum):
    """Who gives way to whom; neither ever waits for good."""

    INTERACTIVE = "interactive"
    BULK = "bulk"

    @property
    def weight(self) -> float:
        """Share of the rows that are denoised, next to that of another request."""
        return 1.0 if self is Priority.INTERACTIVE else 0.25


class DanceFields(BaseModel):
    """What to dance to, and which phrases of the library may serve as examples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text_prompt: str | None = Field(None, description="What to dance, in words.")
    audio_url: str | None = Field(None, description="Song to fetch; refused unless the operator allows it.")
    duration: float | None = Field(None, description="Seconds; omitted: the whole song, or one window without a song.")
    bpm: float | None = Field(None, description="Tempo of the song, 20 to 300; its beats are a strict grid.")
    beats: list[float] | None = Field(
        None,
        min_length=MIN_BEATS,
        max_length=MAX_BEATS,
        description="Beats of the song, ascending, in seconds; in a form between commas. Omitted: as they are heard.",
    )
    downbeats: list[float] | None = Field(
        None,
        min_length=MIN_BEATS,
        max_length=MAX_BEATS,
        description="First beats of the bars: some of `beats`, or on the grid of `bpm`. Omitted: see `beats`.",
    )
    half_time: bool = Field(False, description="Use every second beat of the song, beginning with the first.")
    model: str | None = Field(None, description="Name of a served model; omitted: the default.")
    phrase_genre: str | None = Field(None, description="Use phrases of these genres only; names between commas.")
    phrase_licence: str | None = Field(None, description="Use phrases under these licences only; tags between commas.")
    phrase_min_tempo: float | None = Field(None, description="Use phrases of at least this tempo only, in BPM.")
    phrase_max_tempo: float | None = Field(None, description="Use phrases of at most this tempo only, in BPM.")
    phrase_variety: float = Field(0.0, description="0: the best phrases, however alike; up to 1: different ones.")


class GenerateFields(DanceFields):
    """The scalar fields of a request, the same in JSON, in a multipart form and on the command line."""

    guidance_scale: float = Field(2.5, description="Classifier-free guidance; 1 follows the condition as trained.")
    text_guidance: float | None = Field(
        None, description="Guidance of the prompt by itself; omitted: guidance_scale. Costs a third row per step."
    )
    music_guidance: float | None = Field(
        None, description="Guidance of song and phrases by themselves; omitted: guidance_scale. Costs a third row."
    )
    preset: str = Field("reference", description="reference, fast or draft; explicit fields override it.")
    num_steps: int | None = Field(None, description="Denoising steps.")
    sampler: str | None = Field(None, description="ddim, ddpm, dpm++2m, or lcm for distilled models.")
    guidance_low: float | None = Field(None, description="Lowest noise, 0 to 1, at which guidance acts.")
    guidance_high: float | None = Field(None, description="Highest noise, 0 to 1, at which guidance acts.")
    seed: int | None = Field(None, description="Same seed, same motion; omitted: random.")
    timeout: float | None = Field(None, description="Seconds until the result is of no use; omitted: the server's.")
    priority: str = Field("interactive", description="interactive, or bulk: give way to interactive requests.")
    use_rag: bool = Field(True, description="Start from retrieved motion phrases.")
    format: str = Field("json", description=f"One of {FORMAT_NAMES}.")
    camera: str = Field(
        View.FOLLOW.value,
        description="Of an mp4: follow the dancers, or fixed where all of their path is seen.",
        json_schema_extra={"enum": [view.value for view in View]},
    )
    constraints: ConstraintFields | None = Field(
        None, description="Poses, spans, a path, a loop; see docs/directing.md."
    )
    segments: list[SegmentFields] | None = Field(
        None, min_length=1, max_length=MAX_ITEMS, description="Prompts over time; elsewhere text_prompt holds."
    )
    fps: float | None = Field(None, description="Frames per second of the result, 1 to 120; omitted: the model's.")
    up: str = Field(
        AUTO,
        description="Axis that points up in start, end and clip; auto: what the motion itself shows.",
        json_schema_extra={"enum": list(UP_CHOICES)},
    )
    smooth: bool = Field(True, description="Take jitter out of the result.")
    bone_lengths: bool = Field(True, description="Make the body rigid.")
    foot_lock: bool = Field(True, description="Hold planted feet still.")
    on_beat: bool | None = Field(
        None, description="Move pauses of the dance to the beats of the song; omitted: where the beats are sure."
    )
    num_samples: int = Field(1, description="Dances that are made, with successive seeds; the best one is the result.")


class SearchFields(DanceFields):
    """The scalar fields of a search: those of a request that decide which phrases it gets, and how many to show."""

    top_n: int = Field(10, description="Most phrases to show.")


F = TypeVar("F", bound=DanceFields)


@dataclass(frozen=True)
class Attachments:
    """The binary parts of a request, still as bytes.

    Attributes:
        audio: of a song.
        features: a NumPy file of music features.
        start: an .npz of motion, or the path of a motion file of any format.
        end: the same, of a motion that the result ends with.
        clip: the same, of a motion that constraints take spans or poses of.
    """

    audio: bytes | None = None
    features: bytes | Path | None = None
    start: bytes | Path | None = None
    end: bytes | Path | None = None
    clip: bytes | Path | None = None


@dataclass(frozen=True)
class MotionRequest:
    """A validated request.

    Attributes:
        audio: undecoded song bytes; the encoder decodes them.
        features: (T, F) precomputed music features at 30 fps.
        start: motion that the result begins with; `meta["notes"]` says what was done to it.
        num_frames: None until the song's length is known.
        text_guidance, music_guidance: separate scales; None for both: guidance_scale for all conditions together.
        guidance_interval: lowest and highest noise, t / T, at which guidance acts.
        priority: next to whom it is denoised.
        deadline: time.time() after which the result is of no use.
        view: of the camera of a film.
        preset: the one that was named, for figures; what it means is in the fields above.
        phrase_filter, phrase_variety: see `retrieval.search.finder.PhraseRequest`.
        rhythm: what the caller says of the song's beats.
        num_samples: dances that are made, of which the best is the result.
        constraints: what the motion must keep to, in addition to its start.
        segments: prompts over time, ascending.
        fps: of the result; None: the generator's.
    """

    text: str | None
    audio: bytes | None
    features: NDArray[np.float32] | None
    start: Motion | None
    num_frames: int | None
    guidance_scale: float
    num_steps: int
    sampler: str
    seed: int
    use_rag: bool
    model: str | None
    format: Format
    finish: FinishOptions
    deadline: float
    text_guidance: float | None = None
    music_guidance: float | None = None
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    priority: Priority = Priority.INTERACTIVE
    request_id: str = field(default_factory=lambda: secrets.token_hex(8))
    phrase_filter: PhraseFilter = EVERYTHING
    phrase_variety: float = 0.0
    view: View = View.FOLLOW
    preset: str = "reference"
    rhythm: Rhythm = AS_HEARD
    num_samples: int = 1
    constraints: Constraints = FREE
    segments: tuple[Segment, ...] = ()
    fps: float | None = None

    @property
    def seeds(self) -> list[int]:
        """Those of the samples: the request's own and the ones after it; after the largest one comes 0."""
        return [(self.seed + i) % (MAX_SEED + 1) for i in range(self.num_samples)]

    @property
    def weight(self) -> float:
        """Share of the rows of each sample: all samples of a request together have that of one request."""
        return self.priority.weight / self.num_samples

    @property
    def given_notes(self) -> list[str]:
        """What was done to start, end and clip, for their sender."""
        given = {"start": self.start, "end": self.constraints.end, "clip": self.constraints.clip}
        return [f"{name} {note}" for name, m in given.items() if m is not None for note in m.meta.get("notes", ())]

    def delivered_frames(self, frames: int, fps: float) -> int:
        """Frames of the file of a motion of `frames` at `fps`."""
        return frames if self.fps is None else resampled_frames(frames, fps, self.fps)

    @property
    def known_frames(self) -> int | None:
        """Length of the motion, as far as it is known before its song is decoded."""
        if self.num_frames is not None:
            return self.num_frames
        if self.features is not None:
            return len(self.features)
        return WINDOW if self.audio is None else None

    @property
    def known_sampled_frames(self) -> int | None:
        """Frames of all samples together, as far as they are known before the song is decoded."""
        return None if self.known_frames is None else self.known_frames * self.num_samples

    def without_song(self) -> "MotionRequest":
        """The request without what only the encoder reads, which may be megabytes."""
        return replace(self, audio=None, features=None, rhythm=AS_HEARD)


def parse_fields(values: dict[str, Any]) -> GenerateFields:
    """The fields of a request for motion; see `parse`."""
    return parse(GenerateFields, values)


def parse(kind: type[F], values: dict[str, Any]) -> F:
    """Validate scalar fields, naming the first one that is wrong.

    Raises:
        InvalidInput: an unknown field, or one of the wrong type.
    """
    unknown = next((name for name in values if name not in kind.model_fields), None)
    if unknown is not None:  # before an error is made for each of them
        raise InvalidInput(unknown if unknown.isprintable() else "body", "is not a field of this request")
    try:
        return kind.model_validate(values, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "body"
        raise InvalidInput(name, first["msg"]) from error


def validated_request(fields: GenerateFields, parts: Attachments, settings: Settings) -> MotionRequest:
    """Check every limit and turn fields and parts into a request.

    Raises:
        InvalidInput: a field is out of range, or neither song, features nor prompt was given.
    """
    if not any((fields.text_prompt, parts.audio is not None, parts.features is not None)):
        raise InvalidInput("text_prompt", "give a text_prompt, a song, or both")
    if parts.audio is not None and parts.features is not None:
        raise InvalidInput("features", "give a song or its features, not both")
    if parts.audio is not None and not parts.audio:
        raise InvalidInput("audio", "is empty")
    way = _sampling_options(fields, settings)
    num_frames = _frames(fields.duration, settings)
    start, end, clip = (given_motion(name, getattr(parts, name), fields.up) for name in ("start", "end", "clip"))
    if start is not None:
        check_start(start, num_frames or WINDOW)
    has_song = bool(parts.audio) or parts.features is not None
    constraints = made_constraints(fields.constraints, clip, end)
    _check_on_beat(fields.on_beat, has_song, constraints)
    check_guidance("text_guidance", fields.text_guidance, bool(fields.text_prompt or fields.segments), way.sampler)
    check_guidance("music_guidance", fields.music_guidance, has_song, way.sampler)
    request = MotionRequest(
        text=check_text(fields.text_prompt, max_chars=settings.max_text_chars) if fields.text_prompt else None,
        audio=parts.audio,
        features=load_features(parts.features) if parts.features is not None else None,
        start=start,
        num_frames=num_frames,
        guidance_scale=_between("guidance_scale", fields.guidance_scale, 0, settings.max_guidance_scale),
        text_guidance=_scale_or_none("text_guidance", fields.text_guidance, settings),
        music_guidance=_scale_or_none("music_guidance", fields.music_guidance, settings),
        num_steps=way.num_steps,
        sampler=way.sampler,
        seed=_seed(fields.seed),
        use_rag=fields.use_rag,
        model=fields.model,
        format=Format.named(fields.format),
        finish=FinishOptions(fields.smooth, fields.bone_lengths, fields.foot_lock, fields.on_beat),
        deadline=time.time() + _timeout(fields.timeout, settings),
        guidance_interval=(way.guidance_low, way.guidance_high),
        priority=_priority(fields.priority),
        phrase_filter=_filter(fields),
        phrase_variety=_between("phrase_variety", fields.phrase_variety, 0, 1),
        view=View.named(fields.camera),
        preset=fields.preset,
        rhythm=said(fields.bpm, fields.beats, fields.half_time, has_song, fields.downbeats),
        num_samples=_num_samples(fields.num_samples, num_frames, settings),
        constraints=constraints,
        segments=made_segments(fields.segments, settings.max_text_chars),
        fps=None if fields.fps is None else check_rate(fields.fps),
    )
    if request.known_frames is not None:
        check_fits(request, request.known_frames)
    return request


def _check_on_beat(on_beat: bool | None, has_song: bool, constraints: Constraints) -> None:
    if on_beat and not has_song:
        raise InvalidInput("on_beat", "is about the beats of a song; give one, or its features")
    if on_beat and constraints:
        raise InvalidInput(
            "on_beat", "changes when poses are reached, which constraints state; leave one of the two out"
        )


def check_fits(request: MotionRequest, num_frames: int) -> None:
    """Check what is directed against a motion of `num_frames` at 30 fps.

    Raises:
        InvalidInput: a pose, span, path or prompt lies outside of it, or the file would have too many frames.
    """
    if request.constraints:
        start = request.start
        given = 0 if start is None else resampled_frames(start.num_frames, start.fps, FPS)
        check_length(request.constraints, given, num_frames)
    for i, segment in enumerate(request.segments):
        if segment.start * FPS >= num_frames:
            message = f"begins at {segment.start:g} s, and the motion lasts {num_frames / FPS:.2f} s"
            raise InvalidInput(f"segments.{i}.start", message)
    if request.fps is not None:
        check_rate(request.fps, num_frames, FPS)


def make_search(fields: SearchFields, parts: Attachments, settings: Settings) -> tuple[MotionRequest, int]:
    """The request whose phrases are searched for, and how many of them.

    Raises:
        InvalidInput: see `validated_request`; or too many or too few phrases.
    """
    if not 1 <= fields.top_n <= settings.max_search_hits:
        raise InvalidInput("top_n", f"must be between 1 and {settings.max_search_hits}, got {fields.top_n}")
    return validated_request(GenerateFields(**fields.model_dump(exclude={"top_n"})), parts, settings), fields.top_n


def _sampling_options(fields: GenerateFields, settings: Settings) -> Preset:
    """The preset, overridden by explicit fields."""
    names = ("sampler", "num_steps", "guidance_low", "guidance_high")
    given = {name: value for name in names if (value := getattr(fields, name)) is not None}
    way = replace(preset(fields.preset), **given)
    sampler(way.sampler)
    if not 1 <= way.num_steps <= settings.max_steps:
        raise InvalidInput("num_steps", f"must be between 1 and {settings.max_steps}, got {way.num_steps}")
    low = _between("guidance_low", way.guidance_low, 0, 1)
    _between("guidance_high", way.guidance_high, low, 1)
    return way


def _priority(name: str) -> Priority:
    try:
        return Priority(name)
    except ValueError as error:
        raise InvalidInput("priority", f"must be one of {', '.join(Priority)}, got {name[:32]!r}") from error


def _filter(fields: DanceFields) -> PhraseFilter:
    low, high = fields.phrase_min_tempo, fields.phrase_max_tempo
    for name, value in (("phrase_min_tempo", low), ("phrase_max_tempo", high)):
        if value is not None:
            _between(name, value, *TEMPOS)
    if low is not None and high is not None and low > high:
        raise InvalidInput("phrase_min_tempo", f"is {low:g}, above the phrase_max_tempo of {high:g}")
    genres, licences = _names("phrase_genre", fields.phrase_genre), _names("phrase_licence", fields.phrase_licence)
    return PhraseFilter(genres, licences, low, high)


def _names(field: str, text: str | None) -> frozenset[str]:
    """Names between commas."""
    if text is None:
        return frozenset()
    checked = check_text(text, field, MAX_NAMES * (MAX_NAME_CHARS + 2))
    names = [name.strip() for name in checked.split(",")]
    if not all(names) or len(names) > MAX_NAMES or max(map(len, names)) > MAX_NAME_CHARS:
        limits = f"at most {MAX_NAMES} of at most {MAX_NAME_CHARS} characters"
        raise InvalidInput(field, f"must be names between commas, {limits}")
    return frozenset(names)


def _between(name: str, value: float, low: float, high: float) -> float:
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidInput(name, f"must be a number between {low:g} and {high:g}, got {value}")
    return value


def _scale_or_none(name: str, value: float | None, settings: Settings) -> float | None:
    return None if value is None else _between(name, value, 0, settings.max_guidance_scale)


def _frames(duration: float | None, settings: Settings) -> int | None:
    if duration is None:
        return None
    _between("duration", duration, 1 / FPS, settings.max_seconds)
    return max(round(FPS * duration), 1)


def _num_samples(number: int, num_frames: int | None, settings: Settings) -> int:
    if not 1 <= number <= settings.max_samples:
        raise InvalidInput("num_samples", f"must be between 1 and {settings.max_samples}, got {number}")
    if num_frames is not None:
        check_samples(number, num_frames, settings)
    return number


def check_samples(number: int, num_frames: int, settings: Settings) -> None:
    """Check that all samples together are no longer than the longest motion that a request may ask for.

    Raises:
        InvalidInput: they are.
    """
    if number > 1 and number * num_frames > settings.max_seconds * FPS:
        each = num_frames / FPS
        raise InvalidInput(
            "num_samples",
            f"{number} dances of {each:.1f} s exceed the {settings.max_seconds:g} s that a request may ask for;"
            f" ask for at most {max(int(settings.max_seconds / each), 1)}",
        )


def _timeout(seconds: float | None, settings: Settings) -> float:
    if seconds is None:
        return settings.request_timeout_s
    return _between("timeout", seconds, 0.001, settings.max_timeout_s)


def _seed(seed: int | None) -> int:
    if seed is None:
        return secrets.randbelow(2**31)
    if not 0 <= seed <= MAX_SEED:
        raise InvalidInput("seed", f"must be between 0 and {MAX_SEED}, got {seed}")
    return seed


def check_start(start: Motion, num_frames: int) -> None:
    """Check that a motion to begin with, at whatever rate, is shorter than a dance of `num_frames` at 30 fps.

    Raises:
        InvalidInput: it is not.
    """
    if resampled_frames(start.num_frames, start.fps, FPS) >= num_frames:
        raise InvalidInput(
            "start",
            f"lasts {start.seconds:.2f} s and the dance {num_frames / FPS:.2f} s, which leaves nothing to generate",
        )
