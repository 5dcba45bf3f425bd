"""The finishing stage: generated features to rigid motion on the floor, and to files."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.motion.formats.formats import Format, encode
from choreo.motion.kinematics import heading
from choreo.motion.performance import Performance
from choreo.motion.representation import ROOT_VELOCITY, Origin, decode
from choreo.motion.representation import encode as encode_features
from choreo.motion.skeleton import PELVIS
from choreo.postprocess.finish import FinishOptions, finish_performance
from serving.pipeline.contracts import MotionFile, SamplingResult
from serving.pipeline.request import MotionRequest
from serving.util.threads import Threads


class Finisher:
    """Finishes performances in a few threads."""

    def __init__(self, threads: int = 2) -> None:
        self._threads = Threads(threads)

    async def finish(
        self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any]
    ) -> tuple[Performance, NDArray[np.float32]]:
        """Features to a finished performance, and positions (N, T, 22, 3) before the foot lock."""
        return await self._threads.run(finish_request, request, sampled, meta)

    async def deliver(self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any]) -> MotionFile:
        """`finish`, and the performance in the request's format."""
        return await self._threads.run(_deliver, request, sampled, meta)

    async def warm_up(self) -> None:
        """Nothing: everything was imported with this module."""

    def close(self) -> None:
        """End the threads."""
        self._threads.close()


def finish_request(
    request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any]
) -> tuple[Performance, NDArray[np.float32]]:
    """Decode and post-process what a request was given. Blocking.

    Returns:
        The performance, and its positions (N, T, 22, 3) before the foot lock.

    Raises:
        NonFiniteOutput: the features hold NaN or infinity.
    """
    features, fps = sampled.features, sampled.fps
    if features.ndim == 3:
        dancers = [decode(dancer, fps, Origin()) for dancer in features]
    else:
        dancers = [_decoded_solo(request, features, fps)]
    return finish_dancers(dancers, fps, request.finish, meta)


def finish_dancers(
    positions: Sequence[NDArray[np.floating]], fps: float, options: FinishOptions, meta: dict[str, Any]
) -> tuple[Performance, NDArray[np.float32]]:
    """Post-process the decoded dancers of one performance.

    Args:
        positions: one (T, 22, 3) array per dancer, metres, in one frame of reference.
        fps: frames per second.
        options: which stages run.
        meta: provenance, to which `fit_residual` and `postprocess` are added: of a solo the values themselves, of
            several dancers lists in their order.

    Returns:
        The performance, and positions (N, T, 22, 3) before the foot lock.

    Raises:
        NonFiniteOutput: positions hold NaN or infinity.
        InvalidInput: no dancers, too many, or unequal lengths.
    """
    dancers = finish_performance(positions, fps, options)
    residuals, reports = [d.fit_residual for d in dancers], [d.report for d in dancers]
    solo = len(dancers) == 1
    meta = meta | {
        "fit_residual": residuals[0] if solo else residuals,
        "postprocess": reports[0] if solo else reports,
    }
    return Performance(tuple(d.motion for d in dancers), meta), np.stack([d.before_lock for d in dancers])


def _decoded_solo(request: MotionRequest, sampled: NDArray[np.float32], fps: float) -> NDArray[np.float64]:
    """Joint positions of one dancer.

    Without a starting motion the dancer begins at the origin, facing +z: the first heading that a network produces is
    arbitrary.
    """
    features = np.array(sampled)
    if request.start is None:
        positions = decode(features, fps, Origin())
        # -heading[0] turns the whole motion; encode and decode are each other's inverse, so nothing else changes.
        turned, _ = encode_features(positions, fps, float(heading(positions[:1])[0]), previous=positions[0, PELVIS])
        return decode(turned, fps, Origin())
    features[0, ROOT_VELOCITY] = 0  # the network does not know it, and the start says where the dancer is
    x, _, z = request.start.positions[0, PELVIS]
    return decode(features, fps, Origin(float(x), float(z)))


def _deliver(request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any]) -> MotionFile:
    began = time.perf_counter()
    performance, _ = finish_request(request, sampled, meta)
    finished = time.perf_counter()
    seconds = {"finish": round(finished - began, 4)}
    if "seconds" in meta:
        performance = replace(performance, meta=performance.meta | {"seconds": meta["seconds"] | seconds})
    body = render(performance, request.format, request.audio, request.text or "")
    return MotionFile(body, seconds | {"render": round(time.perf_counter() - finished, 4)})


def render(performance: Performance, fmt: Format, song: bytes | None, title: str) -> bytes:
    """The bytes of a performance in a format; films have the song as their sound. Blocking."""
    if not fmt.needs_audio or song is None:
        return encode(performance, fmt, title=title)
    with TemporaryDirectory(prefix="choreo-render-") as folder:
        audio = Path(folder) / "song"
        audio.write_bytes(song)
        return encode(performance, fmt, audio, title)
