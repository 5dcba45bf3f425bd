"""Post-processing as a whole: decoded joint positions in, rigid motion with planted feet out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.errors import InvalidInput, NonFiniteOutput
from choreo.motion import kinematics
from choreo.motion import rotations as rot
from choreo.motion.clip import Motion, check_fps, check_positions
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.rigid_fit import fit_over_time
from choreo.motion.skeleton import FPS, LEGS, NUM_JOINTS
from choreo.motion.travel import travel
from choreo.postprocess.arms import ARMS, clear_arms
from choreo.postprocess.contacts import Bools, detect_contacts
from choreo.postprocess.floor import BODY, floor_curve, lift_above
from choreo.postprocess.foot_lock import lock_feet
from choreo.postprocess.on_beat import beat_warp
from choreo.postprocess.options import FinishOptions
from choreo.postprocess.pinned import Pinned, put_back, put_back_positions
from choreo.postprocess.root_follow import follow_support
from choreo.postprocess.settling import settled
from choreo.postprocess.smoothing import smooth, smooth_pose
from choreo.postprocess.support import support
from choreo.postprocess.swing import swing_lift

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Finished:
    """One dancer, finished.

    Attributes:
        motion: the finished motion; its positions are forward kinematics of its rotations, if it has any.
        fit_residual: mean distance between the input and its rigid fit, metres; None without a fit.
        before_lock: (T, 22, 3) float32 positions just before the foot lock: smooth, rigid, on the floor.
        contacts: (T, 4) bool, CONTACT_JOINTS order.
        report: JSON-serialisable measurements, also in `motion.meta["finish"]`.
    """

    motion: Motion
    fit_residual: float | None
    before_lock: NDArray[np.float32]
    contacts: Bools
    report: dict[str, Any] = field(default_factory=dict)


def finish_performance(
    positions: Sequence[NDArray[np.floating]],
    fps: float = FPS,
    options: FinishOptions = FinishOptions(),
    beats: ArrayLike = (),
    fixed_frames: int = 0,
    contacts: NDArray[np.floating] | None = None,
    pinned: Pinned | None = None,
) -> tuple[Finished, ...]:
    """Pauses moved to the beats, for all dancers alike, and `finish` for each.

    Dancers are finished independently: hands that touch are not held together.

    Args:
        positions: one (T, 22, 3) array per dancer, metres, y up, all in one frame of reference.
        fps: frames per second.
        options: which stages run.
        contacts: (N, T, 4) of their feet, as in `finish`.
        beats: those of the song that are sure, seconds from the first frame.
        fixed_frames: frames at the beginning whose time does not change, such as those of a given start.
        pinned: poses of every dancer that stay as they are.
    Returns:
        One result per dancer, each with its own residual and report, in which `on_beat` is about all.
    Raises:
        NonFiniteOutput: as `finish` does.
        InvalidInput: as `finish` does; unequal lengths.
    """
    raw = [_checked(dancer, fps) for dancer in positions]
    if not raw:
        return ()
    for i, dancer in enumerate(raw):
        if len(dancer) != len(raw[0]):
            raise InvalidInput(f"dancers[{i}]", f"must have {len(raw[0])} frames as dancers[0] has, got {len(dancer)}")
    warp = beat_warp(raw, () if options.on_beat is False else beats, fps, fixed_frames)
    told = [None] * len(raw) if contacts is None else [np.clip(warp.of(feet), 0, 1) for feet in contacts]
    done = tuple(finish(warp.of(dancer), fps, options, feet, pinned) for dancer, feet in zip(raw, told, strict=True))
    for finished in done:
        finished.report["on_beat"] = warp.document()
    return done


def finish(
    positions: NDArray[np.floating],
    fps: float = FPS,
    options: FinishOptions = FinishOptions(),
    contacts: NDArray[np.floating] | None = None,
    pinned: Pinned | None = None,
) -> Finished:
    """Rigid fit, smoothing, floor, feet that the body settles on and follows, foot lock, and given poses put back.

    Commutes with rotation about y and with horizontal translation.

    Args:
        positions: (T, 22, 3) decoded joint positions, metres, y up.
        fps: frames per second.
        options: which stages run.
        contacts: (T, 4) probabilities of contact of CONTACT_JOINTS, if the network gives them.
        pinned: poses that stay as they are; None: none.
    Raises:
        NonFiniteOutput: the model's output holds NaN or infinity.
        InvalidInput: wrong shape, no frames, coordinates beyond 10 km, a frame rate out of range, or contacts that are
            not probabilities.
    """
    raw = _checked(positions, fps)
    fitted = fit_over_time(raw, fps) if options.bone_lengths else None
    root, world = (fitted.root, fitted.world) if fitted else (raw[:, 0], None)
    if world is not None:
        root, world = smooth_pose(root, world, fps) if options.smooth else (root, world)
        clear = clear_arms(posed := kinematics.posed(root, world), fps)
        world, posed = kinematics.turn_chains(world, posed, clear, ARMS), clear
    else:
        posed = smooth(raw, fps) if options.smooth else raw
    floor = floor_curve(posed, fps)
    grounded = _shifted_up(posed, -floor)
    # The lock lifts feet out of the floor by bending legs; everything else can only rise with the body.
    grounded = _shifted_up(grounded, lift_above(grounded[:, BODY, 1] if options.foot_lock else grounded[..., 1], fps))
    given, held = (None, None) if pinned is None else (pinned.frames, pinned.held)
    if options.foot_lock:
        feet = support(grounded, fps, contacts)
        standing = _shifted_up(grounded, -settled(grounded, feet, fps, given))
        followed = standing + follow_support(standing, feet, fps, held)[:, None]
        touching = detect_contacts(followed, fps, feet)
        final = lock_feet(followed, touching, fps, swing_lift(followed, feet, fps, given), given)
    else:
        touching, final = detect_contacts(grounded, fps), grounded
    local = None
    if world is not None:
        world = kinematics.turn_chains(world, grounded, final, LEGS)
        root = final[:, 0]
        if pinned is not None:
            root, world = put_back(root, world, pinned.with_end(final), fps)
        local, final = kinematics.local_rotations(world), kinematics.posed(root, world)
    elif pinned is not None:
        final = put_back_positions(final, pinned.with_end(final), fps)
    report = _report(_shifted_up(raw, -floor), grounded, final, touching, floor, fps)
    report["fit_residual"] = residual = fitted.residual if fitted else None
    motion = Motion(
        final.astype(np.float32), fps, None if local is None else local.astype(np.float32), meta={"finish": report}
    )
    return Finished(motion, residual, grounded.astype(np.float32), touching, report)


def _checked(positions: NDArray[np.floating], fps: float) -> Array:
    positions = np.asarray(positions)
    if positions.shape[1:] == (NUM_JOINTS, 3) and not np.isfinite(positions).all():
        bad = np.flatnonzero(~np.isfinite(positions).all(axis=(1, 2)))
        raise NonFiniteOutput(f"decoded motion holds NaN or infinity in {len(bad)} frames, first in frame {bad[0]}")
    check_positions(positions, "positions")
    check_fps(fps)
    return positions.astype(np.float64)


def _shifted_up(positions: Array, height: Array) -> Array:
    """Positions (T, 22, 3) raised by height (T,)."""
    out = positions.copy()
    out[..., 1] += height[:, None]
    return out


def _report(raw: Array, grounded: Array, final: Array, contacts: Bools, floor: Array, fps: float) -> dict[str, Any]:
    """Measurements of one run; `raw` is the input, shifted so that its floor is y = 0."""
    return {
        "foot_skating_before": foot_skating_ratio(raw, fps),
        "foot_skating_after": foot_skating_ratio(final, fps),
        "travel_before": travel(grounded, fps),
        "travel_after": travel(final, fps),
        "floor_height": float(floor.mean()),
        "floor_range": float(np.ptp(floor)),
        "contact_fraction": float(contacts.mean()),
        "mean_displacement": float(rot.length(final - raw).mean()),
        "lock_displacement": float(rot.length(final - grounded).mean()),
    }
