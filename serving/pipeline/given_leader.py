"""The leader of a duet: the motion that comes with a request, and how long it makes the dance."""

from pathlib import Path

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.resample import resampled_frames
from choreo.motion.skeleton import FPS
from choreo.motion.units import LEG_METRES, leg_length
from serving.pipeline.fields import GenerateFields
from serving.pipeline.given_motion import given_motion
from serving.settings import Settings

FIELD = "leader"
MIN_SECONDS = 0.5
"""Shorter motion does not show where the floor is."""


def given_leader(source: bytes | Path | None, fields: GenerateFields, settings: Settings) -> Motion | None:
    """The leader of a request, or None.

    Raises:
        InvalidInput: it cannot be read, is not one dancer, not a human in metres, too short or too long, or comes with
            what a duet cannot have.
    """
    leader = given_motion(FIELD, source, fields.up)
    if leader is None:
        if fields.leader_follows:
            raise InvalidInput("leader_follows", "is about a leader; send one")
        return None
    for name in ("constraints", "segments"):
        if getattr(fields, name) is not None:
            raise InvalidInput(name, "cannot be had together with a leader, whom the dance follows")
    if fields.on_beat:
        raise InvalidInput("on_beat", "would change the time of the leader; leave one of the two out")
    if leader.seconds < MIN_SECONDS:
        raise InvalidInput(FIELD, f"must last {MIN_SECONDS:g} s or more, got {leader.num_frames} frame(s)")
    if leader.seconds > settings.max_seconds:
        raise InvalidInput(FIELD, f"lasts {leader.seconds:.1f} s; at most {settings.max_seconds:g} s are accepted")
    legs, (shortest, longest) = leg_length(leader.positions), LEG_METRES
    if not shortest <= legs <= longest:
        raise InvalidInput(
            FIELD, f"has legs of {legs:.3g} m, hip to ankle; a human in metres has {shortest} to {longest} m"
        )
    return leader


def led_frames(leader: Motion | None, num_frames: int | None) -> int | None:
    """Frames of the dance at 30 fps: as long as the leader, or shorter where that was asked for.

    Raises:
        InvalidInput: more was asked for.
    """
    if leader is None:
        return num_frames
    frames = resampled_frames(leader.num_frames, leader.fps, FPS)
    if num_frames is not None and num_frames > frames:
        raise InvalidInput("duration", f"must be at most the {frames / FPS:.2f} s of the leader")
    return frames if num_frames is None else num_frames
