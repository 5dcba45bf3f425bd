import os
import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from choreo.errors import InvalidInput, NotSaved
from choreo.ffmpeg import ffmpeg_program
from choreo.motion.formats import mp4
from choreo.motion.formats.mp4 import PreviewFailed, write_preview
from choreo.motion.formats.sound import FILM_RATE, Sound
from choreo.motion.performance import Performance

FRAMES = 20


@pytest.fixture(scope="module")
def clip(make_motion):
    return make_motion(frames=FRAMES)


def sound_of(samples: np.ndarray) -> Sound:
    """Mono samples at the rate of films, on both sides."""
    return Sound(np.repeat((32767 * samples).astype(np.int16)[:, None], 2, axis=1))


@pytest.fixture
def sound() -> Sound:
    return sound_of(0.2 * np.sin(np.arange(3 * FILM_RATE) / 10))


def probe(path: Path) -> tuple[int, float, str]:
    """Frames that decode, duration in seconds, and what ffmpeg says of the file."""
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-i", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    hours, minutes, seconds = re.search(r"Duration: (\d+):(\d+):([\d.]+)", said).groups()
    return frames, int(hours) * 3600 + int(minutes) * 60 + float(seconds), said


def test_a_silent_video(clip, tmp_path):
    path = tmp_path / "clip.mp4"
    calls = []
    write_preview(clip, path, title="Waltz", progress=lambda *done: calls.append(done))
    frames, seconds, said = probe(path)
    assert frames == FRAMES
    assert seconds == pytest.approx(FRAMES / 30, abs=0.02)
    assert "h264" in said
    assert "yuv420p" in said
    assert "640x640" in said
    assert "30 fps" in said
    assert "Audio:" not in said
    assert calls == [(i, FRAMES) for i in range(1, FRAMES + 1)]
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")  # starts to play before it is all there
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_the_sound_is_cut_to_the_motion(clip, sound, tmp_path):
    path = tmp_path / "clip.mp4"
    write_preview(clip, path, sound, size=(320, 240))
    frames, seconds, said = probe(path)
    assert frames == FRAMES
    assert seconds == pytest.approx(FRAMES / 30, abs=0.05)
    assert "Audio: aac" in said
    assert "320x240" in said


def test_sound_starts_with_the_motion(clip, tmp_path):
    """A click at 0.3 s is heard at 0.3 s."""
    click = np.zeros(FILM_RATE)
    click[14400:14450] = 0.9
    write_preview(clip, tmp_path / "clip.mp4", sound_of(click), size=(64, 64))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "clip.mp4"), "-f", "f32le"]
    raw = subprocess.run([*command, "-ac", "1", "-ar", "44100", "-"], capture_output=True, check=True).stdout
    assert abs(int(np.abs(np.frombuffer(raw, np.float32)).argmax()) / 44100 - 0.3) < 0.005


def test_sound_shorter_than_the_motion_does_not_shorten_it(clip, tmp_path):
    write_preview(clip, tmp_path / "clip.mp4", sound_of(np.zeros(FILM_RATE // 5)), size=(64, 64))
    assert probe(tmp_path / "clip.mp4")[0] == FRAMES


@pytest.mark.parametrize("samples", [np.zeros((9, 2), np.float32), np.zeros(9, np.int16), np.zeros((9, 1), np.int16)])
def test_sound_of_another_kind_is_refused(samples):
    with pytest.raises(ValueError, match="int16"):
        Sound(samples)


def test_other_rates_keep_their_length(make_motion, tmp_path):
    write_preview(make_motion(frames=12, fps=23.976), tmp_path / "clip.mp4", size=(64, 64))
    frames, seconds, _ = probe(tmp_path / "clip.mp4")
    assert frames == 12
    assert seconds == pytest.approx(0.5, abs=0.02)


def leftovers(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(".part") or name.endswith(".mp4"))


def test_cancelling_kills_the_encoder_and_keeps_the_old_file(clip, tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kw: started.append(popen(*args, **kw)) or started[-1])

    def cancel(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_preview(clip, path, progress=cancel)
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == ["clip.mp4"]
    assert [process.poll() is not None for process in started] == [True]


def fake_ffmpeg(folder: Path, script: str) -> str:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "script", ["echo no such encoder >&2; exit 3", "cat >/dev/null; echo no such encoder >&2; exit 3"]
)
def test_a_failing_encoder_is_reported_with_its_words(clip, tmp_path, monkeypatch, script):
    monkeypatch.setattr(mp4, "ffmpeg_program", lambda: fake_ffmpeg(tmp_path, script))
    with pytest.raises(PreviewFailed, match=r"exit status 3.*no such encoder"):
        write_preview(clip, tmp_path / "clip.mp4")
    assert leftovers(tmp_path) == []


def test_a_stuck_encoder_is_killed(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(mp4, "ffmpeg_program", lambda: fake_ffmpeg(tmp_path, "exec sleep 60"))
    monkeypatch.setattr(mp4, "BASE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(mp4, "SECONDS_PER_FRAME", 0.0)
    with pytest.raises(PreviewFailed, match="exit status -9"):
        write_preview(clip, tmp_path / "clip.mp4")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("size", [(641, 640), (640, 0), (640, -2), (10_000, 640)])
def test_sizes_that_cannot_be_encoded(clip, tmp_path, size):
    with pytest.raises(InvalidInput, match=r"^size"):
        write_preview(clip, tmp_path / "clip.mp4", size=size)


def test_a_full_disk_is_said_to_be_full(clip):
    """/dev/full answers every write as a full disk does."""
    performance, image = Performance.of(clip), bytes(3 * 64 * 64)

    def film() -> None:
        with mp4._encoder(ffmpeg_program(), performance, (64, 64), mp4._H264, Path("/dev/full")) as frames:
            frames.write(image * performance.num_frames)

    with pytest.raises(NotSaved, match="no room for the video in /dev"):
        film()
