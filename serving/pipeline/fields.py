"""The scalar fields of requests, the same in JSON, in forms and on the command line, and their reading."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from choreo.errors import InvalidInput
from choreo.motion.formats.formats import FORMAT_NAMES
from choreo.motion.formats.view import View
from choreo.motion.upright import AUTO, UP_CHOICES
from choreo.music.rhythm import MAX_BEATS, MIN_BEATS
from serving.pipeline.directing import MAX_ITEMS, ConstraintFields, SegmentFields


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
    leader_follows: bool = Field(
        False, description="Of a duet: the dancer who is sent follows, and the one who leads is made."
    )
    fps: float | None = Field(None, description="Frames per second of the result, 1 to 120; omitted: the model's.")
    up: str = Field(
        AUTO,
        description="Axis that points up in start, end, clip and leader; auto: what the motion itself shows.",
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
