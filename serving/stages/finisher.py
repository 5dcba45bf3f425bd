"""The finishing stage: generated features to rigid motion on the floor, and to files."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import NonFiniteOutput, NotSaved
from choreo.files import disk_is_full
from choreo.generators.given_frames import GivenFrames, given_frames
from choreo.motion.clip import Motion
from choreo.motion.formats.formats import Format, encode
from choreo.motion.formats.view import View
from choreo.motion.frame_rate import at_frame_rate
from choreo.motion.kinematics import fit, heading
from choreo.motion.performance import Performance
from choreo.motion.representation import ROOT_VELOCITY, Origin, decode
from choreo.motion.representation import encode as encode_features
from choreo.motion.resample import resampled_frames
from choreo.motion.skeleton import PELVIS
from choreo.music.isolated import decode_soundtrack_isolated
from choreo.music.song_beats import NO_BEATS, SongBeats
from choreo.postprocess.finish import finish_performance
from choreo.postprocess.options import FinishOptions
from choreo.postprocess.pinned import Pinned
from choreo.rigs.animate import character_of
from serving.pipeline.pipeline import in_time
from serving.pipeline.request import MotionRequest
from serving.pipeline.results import MotionFile, SampleScore, SamplingResult
from serving.stages.large_jobs import LargeJobs
from serving.stages.ranking import TextScores, choose, score
from serving.util.threads import Threads
from serving.util.tracing import past

log = logging.getLogger(__name__)

FRAME_S: Final = 1.2e-4
"""Time to finish one frame of one dancer and to write it, roughly."""
PAINT_S: Final = 8e-3
"""Time to draw and encode one frame of a film, roughly."""
BLENDER_S, BLENDER_FRAME_S = 2.0, 3e-3
"""Time that Blender takes to start, and to write one frame of one dancer, roughly."""
RIG_BYTE_S, RIG_FRAME_S = 2e-8, 2e-4
"""Time to read a character's file, and to put one frame of a dance into it, roughly."""
QUICK_S: Final = 1.0
"""What takes longer is done in a process of its own."""


class Finisher:
    """Finishes performances: short ones in a few threads, films and long ones in child processes.

    Args:
        threads: short ones at a time.
        ready: keep a child process started.
        text_motion: folder of the text-motion encoder by which samples of a request are ranked; None: by the rest.
    """

    def __init__(self, threads: int = 2, ready: bool = False, text_motion: Path | None = None) -> None:
        self._threads = Threads(threads)
        self._large = LargeJobs(ready)
        self._texts = TextScores(text_motion)

    async def finish(
        self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any], beats: SongBeats = NO_BEATS
    ) -> tuple[Performance, NDArray[np.float32]]:
        """Features to a finished performance, and positions (N, T, 22, 3) before the foot lock."""
        return await self._threads.run(finish_request, request, sampled, meta, beats)

    async def score(
        self, request: MotionRequest, samples: Sequence[SamplingResult | None], beats: SongBeats = NO_BEATS
    ) -> list[SampleScore | None]:
        """Finish and measure each sample, one after the other, so that other requests come in between.

        Results and errors are as in `FinishStage.score`.
        """
        scores, errors = dict[int, SampleScore](), list[NonFiniteOutput]()
        for i, (seed, sampled) in enumerate(zip(request.seeds, samples, strict=True)):
            if sampled is None:
                continue
            in_time("ranking", request)
            try:
                scores[i] = await self._score(replace(request, seed=seed), sampled, beats)
            except NonFiniteOutput as error:
                log.warning("the sample of seed %d failed: %s", seed, error)
                errors.append(error)
        if not scores:
            raise errors[0]
        ranked = dict(zip(scores, choose(list(scores.values())), strict=True))
        return [ranked.get(i) for i in range(len(samples))]

    async def _score(self, request: MotionRequest, sampled: SamplingResult, beats: SongBeats) -> SampleScore:
        if (work_s := _finishing_s(sampled)) <= QUICK_S:
            return await self._threads.run(score_request, request, sampled, beats, self._texts)
        return await self._large.run(work_s, request.deadline, score_request, request, sampled, beats, self._texts)

    async def deliver(
        self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any], beats: SongBeats = NO_BEATS
    ) -> MotionFile:
        """`finish`, and the performance in the request's format; errors also as in `LargeJobs.run`."""
        work_s = _work_s(request, sampled)
        if work_s <= QUICK_S:
            file = await self._threads.run(deliver_request, request, sampled, meta, beats)
        else:
            file = await self._large.run(work_s, request.deadline, deliver_request, request, sampled, meta, beats)
        finishing, rendering = file.seconds["finish"], file.seconds["render"]
        past("postprocess", file.began, finishing)
        past("render", file.began + finishing, rendering)
        return file

    async def warm_up(self) -> None:
        """Start the child process that is to be ready; everything else was imported with this module."""
        self._large.prepare()

    def close(self) -> None:
        """End the threads, and kill the processes."""
        self._large.close()
        self._threads.close()


def finish_request(
    request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any], beats: SongBeats = NO_BEATS
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
        if request.leader is not None:
            return _at_rate(request, *finish_duet(dancers, fps, request.finish, meta, request.leader_follows))
        contacts = sampled.contacts
        return _at_rate(request, *finish_dancers(dancers, fps, request.finish, meta, beats, contacts=contacts))
    contacts = None if sampled.contacts is None else sampled.contacts[None]
    given = given_frames(request.start, request.constraints, len(features), fps)
    solo = _decoded_solo(request, given, features, fps)
    pinned = Pinned(given.posed, given.positions, given.loop, given.placed)
    # Constraints say when something happens, so that its time is not changed.
    heard = NO_BEATS if request.constraints else beats
    start = request.start
    fixed_frames = 0 if start is None else resampled_frames(start.num_frames, start.fps, fps)
    finished = finish_dancers([solo], fps, request.finish, meta, heard, fixed_frames, contacts, pinned)
    return _at_rate(request, *finished)


def finish_duet(
    positions: Sequence[NDArray[np.floating]],
    fps: float,
    options: FinishOptions,
    meta: dict[str, Any],
    leader_follows: bool,
) -> tuple[Performance, NDArray[np.float32]]:
    """Post-process the dancer of a duet who was made; the one who was given stays as given.

    Args:
        positions: (T, 22, 3) of the given dancer and of the other one, in one frame of reference.
        fps: frames per second.
        options: which stages run.
        meta: as in `finish_dancers`, of the dancer who was made.
        leader_follows: whether the given dancer follows.

    Returns:
        The performance of `leader` and `follower`, and positions (2, T, 22, 3) before the foot lock.

    Raises:
        NonFiniteOutput: positions hold NaN or infinity.
    """
    (made,) = finish_performance(positions[1:], fps, options)
    fitted = fit(positions[0])
    given = Motion(positions[0].astype(np.float32), fps, fitted.local.astype(np.float32))
    pairs = [(given, given.positions), (made.motion, made.before_lock)]
    order = pairs[::-1] if leader_follows else pairs
    meta = meta | {"fit_residual": made.fit_residual, "postprocess": made.report}
    performance = Performance(tuple(motion for motion, _ in order), meta, ("leader", "follower"))
    return performance, np.stack([before for _, before in order])


def finish_dancers(
    positions: Sequence[NDArray[np.floating]],
    fps: float,
    options: FinishOptions,
    meta: dict[str, Any],
    beats: SongBeats = NO_BEATS,
    fixed_frames: int = 0,
    contacts: NDArray[np.floating] | None = None,
    pinned: Pinned | None = None,
) -> tuple[Performance, NDArray[np.float32]]:
    """Post-process the decoded dancers of one performance.

    Args:
        positions: one (T, 22, 3) array per dancer, metres, in one frame of reference.
        fps: frames per second.
        options: which stages run.
        meta: provenance, to which `fit_residual` and `postprocess` are added: of a solo the values themselves, of
            several dancers lists in their order.
        contacts: (N, T, 4) of their feet, 0..1, as the network tells them.
        beats: of the song.
        fixed_frames: frames at the beginning that are given.
        pinned: poses that stay as they are.

    Returns:
        The performance, and positions (N, T, 22, 3) before the foot lock.

    Raises:
        NonFiniteOutput: positions hold NaN or infinity.
        InvalidInput: no dancers, too many, or unequal lengths.
    """
    dancers = finish_performance(positions, fps, options, beats.sure, fixed_frames, contacts, pinned)
    residuals, reports = [d.fit_residual for d in dancers], [d.report for d in dancers]
    solo = len(dancers) == 1
    meta = meta | {
        "fit_residual": residuals[0] if solo else residuals,
        "postprocess": reports[0] if solo else reports,
    }
    return Performance(tuple(d.motion for d in dancers), meta), np.stack([d.before_lock for d in dancers])


def _decoded_solo(
    request: MotionRequest, given: GivenFrames, sampled: NDArray[np.float32], fps: float
) -> NDArray[np.float64]:
    """Joint positions of one dancer.

    Given poses and a path say where the dancer is. Without them it begins at the origin, facing +z: the first heading
    that a network produces is arbitrary.
    """
    features = np.array(sampled)
    features[0, ROOT_VELOCITY] = 0  # of the first frame it has no meaning
    positions = decode(features, fps, Origin())
    if given.posed.any() or request.constraints.path is not None:
        return given.moved_to_place(positions)
    # -heading[0] turns the whole motion; encode and decode are each other's inverse, so nothing else changes.
    turned, _ = encode_features(positions, fps, float(heading(positions[:1])[0]), previous=positions[0, PELVIS])
    return decode(turned, fps, Origin())


def _at_rate(
    request: MotionRequest, performance: Performance, before_lock: NDArray[np.float32]
) -> tuple[Performance, NDArray[np.float32]]:
    """A finished performance at the frame rate that was asked for."""
    if request.fps is not None:
        dancers = tuple(at_frame_rate(motion, request.fps) for motion in performance.dancers)
        performance = replace(performance, dancers=dancers)
    return performance, before_lock


def _finishing_s(sampled: SamplingResult) -> float:
    """Seconds that finishing will take, roughly."""
    dancers = len(sampled.features) if sampled.features.ndim == 3 else 1
    return sampled.features.shape[-2] * dancers * FRAME_S


def _work_s(request: MotionRequest, sampled: SamplingResult) -> float:
    """Seconds that finishing and writing will take, roughly."""
    frames = request.delivered_frames(sampled.features.shape[-2], sampled.fps)
    if request.rig is not None:
        return _finishing_s(sampled) + len(request.rig) * RIG_BYTE_S + frames * RIG_FRAME_S
    if request.format.needs_blender:
        dancers = len(sampled.features) if sampled.features.ndim == 3 else 1
        return _finishing_s(sampled) + BLENDER_S + frames * dancers * BLENDER_FRAME_S
    return _finishing_s(sampled) + (frames * PAINT_S if request.format is Format.MP4 else 0.0)


def score_request(request: MotionRequest, sampled: SamplingResult, beats: SongBeats, texts: TextScores) -> SampleScore:
    """Finish and measure what a request was given. Blocking; errors as in `finish_request`."""
    performance, _ = finish_request(request, sampled, {}, beats)
    return score(request.seed, performance, beats.sure, request.text, texts)


def deliver_request(
    request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any], beats: SongBeats = NO_BEATS
) -> MotionFile:
    """`finish_request`, and the performance in the request's format. Blocking.

    Raises:
        NonFiniteOutput: the features hold NaN or infinity.
        NotSaved: the disk of the temporary files is full.
        ChoreoError: as the function of the format does.
    """
    began, began_at = time.perf_counter(), time.time()
    performance, _ = finish_request(request, sampled, meta, beats)
    finished = time.perf_counter()
    seconds = {"finish": round(finished - began, 4)}
    if "seconds" in meta:
        performance = replace(performance, meta=performance.meta | {"seconds": meta["seconds"] | seconds})
    try:
        if request.rig is not None:
            body = character_of(request.rig, request.format.suffix).dancing(performance)
        else:
            body = render(performance, request.format, request.audio, request.text or "", request.view)
    except OSError as error:
        if not disk_is_full(error):
            raise
        raise NotSaved(f"there is no room for the file in the temporary folder: {error.strerror}") from error
    return MotionFile(body, seconds | {"render": round(time.perf_counter() - finished, 4)}, began_at)


def render(performance: Performance, fmt: Format, song: bytes | None, title: str, view: View = View.FOLLOW) -> bytes:
    """The bytes of a performance in a format; films have the song as their sound. Blocking."""
    heard = fmt.needs_audio and song is not None
    sound = decode_soundtrack_isolated(song, performance.seconds) if heard and song is not None else None
    return encode(performance, fmt, sound, title, view)
