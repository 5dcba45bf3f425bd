"""Finished motion, and files of it."""

import asyncio
import errno
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_spans import id_of, parent_of, recorded_spans

from choreo.errors import InvalidInput, NonFiniteOutput, NotSaved
from choreo.motion.clip import Motion
from choreo.motion.formats.formats import Format, encode
from choreo.motion.formats.npz import read_performance
from choreo.motion.kinematics import forward_kinematics, heading
from choreo.motion.performance import Performance
from choreo.motion.representation import encode as to_features
from choreo.motion.rotations import yaw
from choreo.music.synth import synthesize_song, write_wav
from choreo.postprocess.finish import finish
from choreo.postprocess.options import FinishOptions
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.results import SamplingResult
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.finisher import Finisher, deliver_request, finish_dancers, finish_request, render
from serving.util import tracing


def walking(frames: int = 40, seed: int = 0) -> np.ndarray:
    """Rest poses that sway and travel (frames, 22, 3)."""
    rng = np.random.default_rng(seed)
    root = np.stack([np.linspace(0, 1, frames), np.full(frames, 0.97), np.zeros(frames)], axis=1)
    positions = forward_kinematics(root, np.tile(np.eye(3), (frames, 22, 1, 1)))
    return positions @ yaw(1.0).T + rng.normal(0, 0.004, positions.shape)


@pytest.fixture
def waltz() -> MotionRequest:
    return validated_request(parse_fields({"text_prompt": "a waltz"}), Attachments(), Settings())


def sampled(positions: np.ndarray) -> SamplingResult:
    features, _ = to_features(positions, 30)
    return SamplingResult(features.astype(np.float32), "fake", 30, {})


def test_a_dance_begins_at_the_origin_and_faces_the_camera(waltz: MotionRequest) -> None:
    performance, before_lock = finish_request(waltz, sampled(walking()), {"seed": 3})
    motion = performance.single()
    assert motion.positions.shape == before_lock[0].shape == (40, 22, 3)
    assert np.abs(motion.positions[0, 0, [0, 2]]).max() < 0.05
    assert abs(heading(motion.positions[:1])[0]) < 0.1
    assert list(performance.meta) == ["seed", "fit_residual", "postprocess"]
    assert performance.meta["postprocess"]["fit_residual"] == performance.meta["fit_residual"]


def test_a_dance_goes_on_where_its_start_stood(waltz: MotionRequest) -> None:
    start = Motion((walking(3) + np.array([5.0, 0, -2.0])).astype(np.float32))
    performance, _ = finish_request(replace(waltz, start=start), sampled(walking()), {})
    motion = performance.single()
    assert np.abs(motion.positions[0, 0] - start.positions[0, 0])[[0, 2]].max() < 0.1


def test_dancers_keep_their_own_reports_in_order_and_reach_a_file() -> None:
    dancers = [walking(seed=1), walking(seed=2) + np.array([1.5, 0, 0])]
    options = FinishOptions()
    performance, before_lock = finish_dancers(dancers, 30, options, {"seed": 3})
    alone = [finish(d, 30, options) for d in dancers]
    assert before_lock.shape == (2, 40, 22, 3)
    assert performance.meta["fit_residual"] == [a.fit_residual for a in alone]
    assert [report.pop("on_beat")["applied"] for report in performance.meta["postprocess"]] == [False, False]
    assert performance.meta["postprocess"] == [a.report for a in alone]
    back = read_performance(encode(performance, Format.NPZ))
    np.testing.assert_array_equal(back.positions, [a.motion.positions for a in alone])
    assert back.meta == performance.meta


@pytest.mark.parametrize(
    ("lengths", "field"), [((), "dancers"), ((20, 21), "dancers[1]"), ((5,) * 9, "dancers")], ids=str
)
def test_dancers_that_make_no_performance_are_refused(lengths: tuple[int, ...], field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        finish_dancers([walking(n) for n in lengths], 30, FinishOptions(), {})
    assert error.value.field == field


def test_a_second_dancer_that_is_not_finite_is_refused() -> None:
    spoilt = walking()
    spoilt[5, 3, 1] = np.inf
    with pytest.raises(NonFiniteOutput, match="frame 5"):
        finish_dancers([walking(), spoilt], 30, FinishOptions(), {})


def test_a_film_has_the_song_as_its_sound(tmp_path: Path) -> None:
    samples, rate, _ = synthesize_song(120.0, 1.0)
    write_wav(tmp_path / "song.wav", samples, rate)
    motion = Motion(np.zeros((6, 22, 3), np.float32))
    film = render(Performance.solo(motion), Format.MP4, (tmp_path / "song.wav").read_bytes(), "a title")
    assert film[4:8] == b"ftyp"
    assert b"mp4a" in film
    assert b"mp4a" not in render(Performance.solo(motion), Format.MP4, None, "")
    with pytest.raises(InvalidInput) as caught:
        render(Performance.solo(motion), Format.MP4, b"no song", "")
    assert caught.value.field == "audio"
    assert str(tmp_path.parent) not in str(caught.value)


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, NotSaved), (errno.EDQUOT, NotSaved), (errno.EIO, OSError)])
def test_a_full_disk_has_an_error_of_its_own(
    waltz: MotionRequest, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[OSError]
) -> None:
    def fails(*args: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("serving.stages.finisher.render", fails)
    with pytest.raises(kind) as caught:
        deliver_request(waltz, sampled(walking()), {})
    assert type(pickle.loads(pickle.dumps(caught.value))) is kind


def test_a_file_is_two_spans_that_were_measured_where_it_was_made(waltz: MotionRequest) -> None:
    async def run() -> None:
        finisher = Finisher()
        with tracing.root("finish"):
            await finisher.deliver(replace(waltz, format=Format.BVH), sampled(walking()), {})
        finisher.close()

    with recorded_spans() as recorded:
        asyncio.run(run())
    finish_span, post, rendered = (recorded.one(name) for name in ("finish", "postprocess", "render"))
    assert [parent_of(post), parent_of(rendered)] == [id_of(finish_span)] * 2
    assert finish_span.start_time <= post.start_time <= post.end_time <= rendered.start_time + 1000
    assert rendered.start_time <= rendered.end_time
