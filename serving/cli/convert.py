"""`choreo convert`: a motion file in another format."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from choreo.errors import InvalidInput
from choreo.files import atomic_write
from choreo.motion.clip import Motion
from choreo.motion.formats import gif
from choreo.motion.formats.bvh import bvh_bytes
from choreo.motion.formats.fbx import fbx_bytes
from choreo.motion.formats.formats import Format, encode, format_of_file
from choreo.motion.formats.gif import gif_bytes
from choreo.motion.formats.glb import glb_bytes
from choreo.motion.formats.joint_profiles import SMPL, JointProfile, profile_named
from choreo.motion.formats.mp4 import film_bytes
from choreo.motion.formats.performance_file import PerformanceFile, read_performance_file
from choreo.motion.formats.view import SIZES, Film, film_size
from choreo.motion.frame_rate import at_frame_rate, check_rate
from choreo.motion.in_place import in_place
from choreo.motion.performance import Performance
from choreo.motion.rigid_pose import on_canonical_skeleton
from choreo.motion.upright import AUTO, check_up
from serving.cli.own_rig import character_document, given_character

WITH_PROFILES: Final[dict[Format, Callable[[Performance, JointProfile], bytes]]] = {
    Format.BVH: bvh_bytes,
    Format.GLB: glb_bytes,
    Format.FBX: fbx_bytes,
}
"""Formats whose joints can have other names."""
GIF: Final = ".gif"
"""What a film without sound that repeats ends with; servers and batches make none."""
NOTED_RESIDUAL: Final = 0.01
"""Mean distance from which on the change by the fit is mentioned, metres."""


@dataclass(frozen=True)
class ConvertOptions:
    """What is changed on the way.

    Attributes:
        skeleton: name of a joint profile; None: SMPL's.
        fps: frames per second; None: those of the file.
        in_place: whether the travel is taken out.
        up: the axis that points up in the file.
        rig: the user's own character, which is written with the dance in it; None: a new file.
        mapping: file that says which joint of it is which.
        size: name of a size of films; None: the usual one.
        marks: whether films show feet that stand and beats.
    """

    skeleton: str | None = None
    fps: float | None = None
    in_place: bool = False
    up: str = AUTO
    rig: Path | None = None
    mapping: Path | None = None
    size: str | None = None
    marks: bool = False


def convert_file(source: Path, out: Path, options: ConvertOptions) -> dict[str, Any]:
    """Read a motion file and write it in the format that the name of `out` ends with; returns the JSON document.

    Every dancer is fitted to the canonical skeleton, retargeted if the bones have other lengths.

    Raises:
        InvalidInput: a file or an option is unusable; the field is `in`, `out`, `skeleton`, `fps`, `up`,
            `rig`, `map`, `size` or `marks`.
        ChoreoError: as the writer of the format does.
    """
    target = _target(out, options)
    if options.fps is not None:
        check_rate(options.fps)
    read = _read(source, check_up(options.up))
    fitted = [on_canonical_skeleton(dancer) for dancer in read.performance.dancers]
    residual = max(distance for _, distance in fitted)
    dancers = tuple(_changed(dancer, options) for dancer, _ in fitted)
    performance = replace(read.performance, dancers=dancers)
    data = target.encode(performance)
    try:
        atomic_write(out, data)
    except OSError as error:
        raise InvalidInput("out", f"{out} cannot be written: {error.strerror}") from error
    notes = [*read.notes, *target.notes]
    if residual >= NOTED_RESIDUAL:
        notes.append(f"joints moved by {100 * residual:.1f} cm on average to fit the canonical skeleton")
    return {
        "files": [str(out)],
        **target.facts,
        "dancers": list(performance.names),
        "num_frames": performance.num_frames,
        "fps": performance.fps,
        "residual": round(residual, 6),
        "notes": notes,
    }


@dataclass(frozen=True)
class _Target:
    """How the file is written, and what is told of it."""

    encode: Callable[[Performance], bytes]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()


def _target(out: Path, options: ConvertOptions) -> _Target:
    character = given_character(options.rig, options.mapping)
    if character is not None:
        if options.skeleton is not None:
            raise InvalidInput("skeleton", "is for new files; a rig has its own joints")
        if options.size is not None or options.marks:
            raise InvalidInput("size" if options.size else "marks", "is for films, in which no rig dances")
        if out.suffix.lower() != character.suffix:
            raise InvalidInput("out", f"must end with {character.suffix}, as the rig does, got {out.name[-32:]!r}")
        facts = {"format": character.suffix.removeprefix("."), "skeleton": "rig"} | character_document(character)
        return _Target(character.dancing, facts, character.notes)
    if out.name.lower().endswith(GIF):
        film = _film(options, gif.SIZE)
        return _Target(partial(gif_bytes, film=film), {"format": "gif", "skeleton": SMPL.name})
    fmt = format_of_file(out.name)
    if fmt is Format.MP4:
        film = _film(options, SIZES["square"])
        return _Target(partial(film_bytes, view=film), {"format": fmt.name, "skeleton": SMPL.name})
    if options.size is not None or options.marks:
        raise InvalidInput("size" if options.size else "marks", f"is for films (.mp4 and .gif); {fmt} is none")
    profile = SMPL if options.skeleton is None else profile_named(options.skeleton)
    if options.skeleton is not None and fmt not in WITH_PROFILES:
        raise InvalidInput("skeleton", f"is for bvh, glb and fbx; {fmt} has the joints of SMPL")

    def encoded(performance: Performance) -> bytes:
        return WITH_PROFILES[fmt](performance, profile) if fmt in WITH_PROFILES else encode(performance, fmt)

    return _Target(encoded, {"format": fmt.name, "skeleton": profile.name})


def _film(options: ConvertOptions, usual: tuple[int, int]) -> Film:
    if options.skeleton is not None:
        raise InvalidInput("skeleton", "is for bvh, glb and fbx; a film shows no names")
    return Film(size=usual if options.size is None else film_size(options.size), marks=options.marks)


def _read(source: Path, up: str) -> PerformanceFile:
    try:
        return read_performance_file(source, "in", up)
    except OSError as error:
        raise InvalidInput("in", f"{source} cannot be read: {error.strerror}") from error


def _changed(dancer: Motion, options: ConvertOptions) -> Motion:
    if options.fps is not None:
        dancer = at_frame_rate(dancer, options.fps)
    return in_place(dancer) if options.in_place else dancer
