"""Fields and parts become a `MotionRequest`: every limit is checked here, once, at the edge."""

import math
import secrets
import time
from dataclasses import replace

from choreo.diffusion.presets import Preset, preset
from choreo.diffusion.samplers import sampler
from choreo.errors import InvalidInput
from choreo.generators.constraints import Constraints
from choreo.motion.formats.formats import Format
from choreo.motion.formats.view import View
from choreo.motion.frame_rate import check_rate
from choreo.motion.skeleton import FPS, WINDOW
from choreo.music.encoded import load_features
from choreo.music.rhythm import said
from choreo.postprocess.options import FinishOptions
from choreo.text.prompts import check_text
from retrieval.library.filters import PhraseFilter
from serving.pipeline.directing import made_constraints, made_segments
from serving.pipeline.fields import DanceFields, GenerateFields, SearchFields
from serving.pipeline.given_leader import given_leader, led_frames
from serving.pipeline.given_motion import given_motion
from serving.pipeline.given_rig import rig_format
from serving.pipeline.guidance import check_guidance
from serving.pipeline.length_checks import check_fits, check_samples, check_start
from serving.pipeline.request import MAX_SEED, Attachments, MotionRequest, Priority
from serving.settings import Settings

MAX_NAMES, MAX_NAME_CHARS = 32, 64
"""Names in a list of genres or licences, and their length."""
TEMPOS = (1.0, 1000.0)
"""Beats per minute that a filter may name."""


def validated_request(fields: GenerateFields, parts: Attachments, settings: Settings) -> MotionRequest:
    """Check every limit and turn fields and parts into a request.

    Raises:
        InvalidInput: a field is out of range, or neither song, features nor prompt was given.
    """
    if not any((fields.text_prompt, parts.audio is not None, parts.features is not None, parts.leader is not None)):
        raise InvalidInput("text_prompt", "give a text_prompt, a song, or both")
    if parts.audio is not None and parts.features is not None:
        raise InvalidInput("features", "give a song or its features, not both")
    if parts.audio is not None and not parts.audio:
        raise InvalidInput("audio", "is empty")
    way = _sampling_options(fields, settings)
    num_frames = _frames(fields.duration, settings)
    leader = given_leader(parts.leader, fields, settings)
    num_frames = led_frames(leader, num_frames)
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
        use_rag=fields.use_rag and leader is None,
        model=fields.model,
        format=_format(fields, parts),
        finish=FinishOptions(
            fields.smooth, fields.bone_lengths, fields.foot_lock, fields.on_beat if leader is None else False
        ),
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
        rig=parts.rig,
        leader=leader,
        leader_follows=fields.leader_follows,
    )
    if request.known_frames is not None:
        check_fits(request, request.known_frames)
    return request


def _format(fields: GenerateFields, parts: Attachments) -> Format:
    if parts.rig is None:
        return Format.named(fields.format)
    return rig_format(parts.rig, fields.format if "format" in fields.model_fields_set else None)


def _check_on_beat(on_beat: bool | None, has_song: bool, constraints: Constraints) -> None:
    if on_beat and not has_song:
        raise InvalidInput("on_beat", "is about the beats of a song; give one, or its features")
    if on_beat and constraints:
        raise InvalidInput(
            "on_beat", "changes when poses are reached, which constraints state; leave one of the two out"
        )


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
