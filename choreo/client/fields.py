"""The scalar fields of requests, typed, and how they travel."""

import json
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict

import numpy as np

from choreo.errors import InvalidInput


class SearchFields(TypedDict, total=False):
    """Which phrases a request begins from. The server's OpenAPI document (`/docs`) describes every field.

    Attributes:
        audio_url: song that the server fetches, where its operator allows that.
        duration: seconds; omitted: the whole song, or one window without a song.
        bpm: tempo of the song, whose beats are then a strict grid; omitted: they are heard.
        beats: beats of the song in seconds, a list, tuple or array; omitted: they are heard.
        downbeats: those of the beats that begin a bar, in the same forms.
        half_time: whether to use every second beat.
        model: name of a served model; omitted: the default.
        phrase_genre, phrase_licence: names between commas.
        phrase_min_tempo, phrase_max_tempo: beats per minute.
        phrase_variety: 0 for the best phrases, up to 1 for different ones.
    """

    audio_url: str | None
    duration: float | None
    bpm: float | None
    beats: list[float] | None
    downbeats: list[float] | None
    half_time: bool
    model: str | None
    phrase_genre: str | None
    phrase_licence: str | None
    phrase_min_tempo: float | None
    phrase_max_tempo: float | None
    phrase_variety: float


class GenerateFields(SearchFields, total=False):
    """How a dance is made, beside its text, song, start, seed, format and deadline, which are arguments of their own.

    Attributes:
        guidance_scale: of classifier-free guidance; 1 follows the condition as trained.
        text_guidance, music_guidance: the same for the prompt and for the song by themselves; omitted: guidance_scale.
        preset: `reference`, `fast` or `draft`; the next four override it.
        num_steps: denoising steps.
        sampler: `ddim`, `ddpm`, `dpm++2m`, or `lcm` for distilled models.
        guidance_low, guidance_high: noise, 0 to 1, between which guidance acts.
        priority: `interactive`, or `bulk` to give way to interactive requests.
        use_rag: whether to start from retrieved phrases.
        camera: of an mp4, `follow` or `fixed`.
        up: axis that points up in the start: `auto`, `y`, `z`, `-y` and so on.
        on_beat: whether pauses are moved to the beats of the song; omitted: where the beats are sure.
        repeat_sections: whether sections of the song that come again are danced with the same moves.
        leader_follows: whether the leader follows, so that the one who leads is made.
        num_samples: dances that are made with successive seeds, of which the best one is the answer.
        constraints: poses, spans, a path, a loop, as an object with `keyframes`, `hold`, `path`, `loop`, `in_place`.
        segments: prompts over time, each an object with `start` and `end` in seconds, and `text`.
        fps: frames per second of the dance, 1 to 120.
        smooth, bone_lengths, foot_lock: whether jitter is taken out, the body made rigid, planted feet held still.
    """

    guidance_scale: float
    text_guidance: float | None
    music_guidance: float | None
    preset: str
    num_steps: int | None
    sampler: str | None
    guidance_low: float | None
    guidance_high: float | None
    priority: str
    use_rag: bool
    camera: str
    up: str
    smooth: bool
    bone_lengths: bool
    foot_lock: bool
    on_beat: bool | None
    repeat_sections: bool
    leader_follows: bool
    num_samples: int
    constraints: Mapping[str, Any]
    segments: Sequence[Mapping[str, Any]]
    fps: float | None


Scalar = str | bool | int | float
Value = Scalar | list[Any] | dict[str, Any]
STRUCTURED: Final = frozenset({"constraints", "segments"})
"""Fields that are JSON objects or lists of them."""
LISTS: Final = frozenset({"beats", "downbeats"})
"""Fields that are lists."""


def scalars(fields: Mapping[str, Any]) -> dict[str, Value]:
    """The fields that have a value, as what JSON can hold. What a value may be is the server's business.

    Raises:
        InvalidInput: a value is no text, no finite number, no truth value and, of `beats`, no list of such.
    """
    return {name: _value(name, value) for name, value in fields.items() if value is not None}


def form_texts(values: Mapping[str, Value]) -> dict[str, str]:
    """The values as texts of a form; those of a list between commas."""
    return {name: _text(value) for name, value in values.items()}


def _value(name: str, value: Any) -> Value:
    if name in STRUCTURED:
        return _structured(name, value)
    if name in LISTS and (isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim)):
        return [_scalar(f"{name}.{i}", item) for i, item in enumerate(value)]
    return _scalar(name, value)


def _structured(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_sendable(name, str(key)): _structured(f"{name}.{key}", item) for key, item in value.items()}
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
        return [_structured(f"{name}.{i}", item) for i, item in enumerate(value)]
    return _scalar(name, value)


def _scalar(name: str, value: Any) -> Scalar:
    # Numbers of NumPy are none for JSON. A str or bool of a subclass, as of an enumeration, becomes a plain one.
    if isinstance(value, str):
        return _sendable(name, str.__str__(value))
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    raise InvalidInput(name, f"must be text, a finite number, or true or false, got {str(value)[:32]!r}")


def _sendable(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(name, "is no text: it has halves of characters") from error
    return text


def _text(value: Value) -> str:
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value)):
        return json.dumps(value)
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)
