"""The finishing stage: generated features to rigid motion on the floor, and to files."""

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.motion.clip import Motion
from choreo.motion.formats.files import Format, encode
from choreo.motion.kinematics import heading
from choreo.motion.representation import ROOT_VELOCITY, Origin, decode
from choreo.motion.representation import encode as encode_features
from choreo.motion.skeleton import PELVIS
from choreo.postprocess.finish import finish
from serving.pipeline.contracts import MotionFile, SamplingResult
from serving.pipeline.request import MotionRequest
from serving.util.threads import Threads


class Finisher:
    """Finishes motions in a few threads."""

    def __init__(self, threads: int = 2) -> None:
        self._threads = Threads(threads)

    async def finish(
        self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any]
    ) -> tuple[Motion, NDArray[np.float32]]:
        """Features to finished motion, and the positions before the foot lock."""
        return await self._threads.run(finish_motion, request, sampled, meta)

    async def deliver(self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any]) -> MotionFile:
        """`finish`, and the motion in the request's format."""
        return await self._threads.run(_deliver, request, sampled, meta)

    async def warm_up(self) -> None:
        """Nothing: everything was imported with this module."""

    def close(self) -> None:
        """End the threads."""
        self._threads.close()


def finish_motion(
    request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any]
) -> tuple[Motion, NDArray[np.float32]]:
    """Decode and post-process; returns the motion and the positions before the foot lock. Blocking.

    Without a starting motion the dancer begins at the origin, facing +z: the network's own first heading is arbitrary.
    """
    features, fps = np.array(sampled.features), sampled.fps
    if request.start is not None:
        features[0, ROOT_VELOCITY] = 0  # the network does not know it, and the start says where the dancer is
    positions = decode(features, fps, _origin(request))
    if request.start is None:
        # -heading[0] turns the whole motion; encode and decode are each other's inverse, so nothing else changes.
        turned, _ = encode_features(positions, fps, float(heading(positions[:1])[0]), previous=positions[0, PELVIS])
        positions = decode(turned, fps, Origin())
    done = finish(positions, fps, request.finish)
    meta = meta | {"fit_residual": done.fit_residual, "postprocess": done.report}
    return Motion(done.motion.positions, fps, done.motion.rotations, meta), done.before_lock


def _origin(request: MotionRequest) -> Origin:
    """The group's frame: the start's own axes and place, if there is one."""
    if request.start is None:
        return Origin()
    x, _, z = request.start.positions[0, PELVIS]
    return Origin(float(x), float(z))


def _deliver(request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any]) -> MotionFile:
    began = time.perf_counter()
    motion, _ = finish_motion(request, sampled, meta)
    finished = time.perf_counter()
    seconds = {"finish": round(finished - began, 4)}
    if "seconds" in meta:
        motion = replace(motion, meta=motion.meta | {"seconds": meta["seconds"] | seconds})
    body = render(motion, request.format, request.audio, request.text or "")
    return MotionFile(body, seconds | {"render": round(time.perf_counter() - finished, 4)})


def render(motion: Motion, fmt: Format, song: bytes | None, title: str) -> bytes:
    """The bytes of a motion in a format; films have the song as their sound. Blocking."""
    if fmt is not Format.MP4 or song is None:
        return encode(motion, fmt, title=title)
    with TemporaryDirectory(prefix="choreo-render-") as folder:
        audio = Path(folder) / "song"
        audio.write_bytes(song)
        return encode(motion, fmt, audio, title)
