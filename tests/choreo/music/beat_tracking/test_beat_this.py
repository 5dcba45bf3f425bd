"""Beat This! by path: its spectrum, its network in chunks, its peaks, and files that are no such network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto
from tiny_beat_this import BANDS, click_network, clicks, write_network

from choreo.errors import ChoreoError, InvalidArtifact, MissingDependency, NonFiniteOutput
from choreo.music.audio import Audio
from choreo.music.beat_tracking.beat_this import BORDER, CHUNK, VARIABLE, BeatThis
from choreo.music.beat_tracking.beat_this_spectrum import log_mel
from choreo.music.beat_tracking.beat_this_tracker import numbered, peaks
from choreo.music.beat_tracking.beats import SHIPPED_TRACKERS, TRACKERS, beat_tracker, usable_trackers
from choreo.music.beat_tracking.heard import heard_beats

RATE = 22_050
NAMES = ("beat_this", "beat_this_bars")
KERNEL = np.zeros((2, BANDS, 1), np.float32)


def audio(samples: np.ndarray) -> Audio:
    return Audio(samples, RATE, len(samples) / RATE, "")


@pytest.fixture
def click_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = click_network(tmp_path / "clicks.onnx")
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_the_spectrum_is_that_of_its_authors() -> None:
    t = np.arange(6615) / RATE
    song = (0.5 * np.sin(2 * np.pi * (100 * t + 9000 * t**2)) * np.exp(-3 * t)).astype(np.float32)
    spectrum = log_mel(song)
    assert spectrum.shape == (16, BANDS)
    # beat_this 1.1.0, LogMelSpect, with torchaudio 2.11
    known = {(0, 0): 7.1301, (0, 5): 7.3569, (3, 20): 0.5941, (8, 60): 0.0263, (12, 80): 0.0179, (15, 127): 0.2685}
    for place, value in known.items():
        assert spectrum[place] == pytest.approx(value, abs=2e-4)
    assert spectrum.sum() == pytest.approx(2050.7346, abs=0.05)


def test_blocks_of_the_spectrum_join_without_a_seam() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 441 * 2100).astype(np.float32)
    np.testing.assert_allclose(log_mel(noise)[2040:2060], log_mel(noise[441 * 2000 :])[40:60], atol=1e-5)


@pytest.mark.parametrize("frames", [1, 5, CHUNK - 12, CHUNK - 11, CHUNK, 2 * CHUNK - 24, 3 * CHUNK + 7])
def test_chunks_answer_as_the_whole_song_does(tmp_path: Path, frames: int) -> None:
    rng = np.random.default_rng(frames)
    kernel = np.zeros((2, BANDS, 2 * BORDER + 1), np.float32)
    kernel[0, 3], kernel[1, 100] = rng.normal(size=(2, 2 * BORDER + 1))
    spectrum = rng.normal(size=(frames, BANDS)).astype(np.float32)
    logits = BeatThis(write_network(tmp_path / "net.onnx", kernel, (0.5, -0.5))).logits(spectrum)
    whole = [np.convolve(spectrum[:, band], kernel[i, band, ::-1]) for i, band in enumerate((3, 100))]
    expected = np.stack(whole, 1)[BORDER : BORDER + frames] + np.array([0.5, -0.5])
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_the_earlier_one_of_two_chunks_counts(tmp_path: Path) -> None:
    """A network that sees further than the border answers differently in each chunk."""
    kernel = np.zeros((2, BANDS, 4 * BORDER + 1), np.float32)
    kernel[:, 0, -1] = 1  # what comes 12 frames later, 0 after the chunk
    spectrum = np.ones((CHUNK + 500, BANDS), np.float32)
    logits = BeatThis(write_network(tmp_path / "net.onnx", kernel)).logits(spectrum)
    kept = CHUNK - 2 * BORDER
    expected = np.ones(CHUNK + 500)
    expected[kept - BORDER : kept] = expected[-2 * BORDER :] = 0
    np.testing.assert_array_equal(logits[:, 0], expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("click_file")
def test_beats_and_bars_of_clicks(name: str) -> None:
    times = np.arange(0.5, 11.9, 0.5)
    heard = beat_tracker(name).track(audio(clicks(times, 4, 12.2)))
    assert len(heard.times) == len(times)
    np.testing.assert_allclose(heard.times, times, atol=0.02)
    np.testing.assert_allclose(heard.downbeats, times[::4], atol=0.02)
    assert (heard.meter, heard.confidence > 0.9) == (4, True)
    assert heard.tempo == pytest.approx(120, rel=0.01)


@pytest.mark.usefixtures("click_file")
def test_irregular_clicks_are_heard_where_they_are() -> None:
    times = np.cumsum([0.5, 0.4, 0.7, 0.3, 0.9, 0.5, 0.4, 0.8, 0.6, 0.34])
    heard = beat_tracker("beat_this").track(audio(clicks(times, 5, 6.2)))
    np.testing.assert_allclose(heard.times, times, atol=0.011)
    assert heard.numbers.tolist() == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]


@pytest.mark.usefixtures("click_file")
def test_stretches_between_pauses_have_bars_of_their_own() -> None:
    first = clicks(np.arange(0.5, 4.4, 0.5), 4, 4.5)
    lone = clicks(np.array([2.5]), 4, 5.0)
    heard = beat_tracker("beat_this").track(audio(np.concatenate([first, lone, first])))
    expected = np.arange(0.5, 4.4, 0.5)
    np.testing.assert_allclose(heard.times, np.concatenate([expected, expected + 9.5]), atol=0.02)
    assert heard.numbers.tolist() == [1, 2, 3, 4] * 4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("click_file")
def test_silence_and_blips_have_no_beats(name: str) -> None:
    tracker = beat_tracker(name)
    blip = clicks(np.array([0.05]), 4, 0.1)
    for samples in (np.zeros(1000, np.float32), np.zeros(5 * RATE, np.float32), blip):
        heard = tracker.track(audio(samples))
        assert (len(heard.times), heard.tempo, heard.confidence, heard.meter) == (0, 0, 0, 0)


@given(arrays.arrays(np.float32, st.integers(1, 60), elements=st.integers(-3, 3).map(float)))
def test_peaks_lie_apart_above_zero_and_are_the_largest_around(logits: np.ndarray) -> None:
    found = peaks(logits)
    assert (np.diff(found) > 1).all()
    for frame in found:
        centre = int(frame)
        assert logits[centre] > 0
        assert logits[max(centre - 3, 0) : centre + 4].max() == logits[centre]
    if logits.max() > 0:
        assert len(found) > 0


def test_equal_neighbours_are_one_peak_between_them() -> None:
    assert peaks(np.array([-1, 2, 2, -1, -1, -1, -1, 1, 0, 0], np.float32)).tolist() == [1.5, 7]


@pytest.mark.parametrize(
    ("downbeats", "numbers", "meter"),
    [
        ([], [0] * 8, 0),
        ([30.0], [0] * 8, 0),
        ([10.0, 40.0], [1, 2, 3, 1, 2, 3, 4, 5], 3),
        ([31.0, 59.0], [2, 3, 1, 2, 3, 1, 2, 3], 3),
        ([50.0, 70.0], [2, 3, 4, 5, 1, 2, 1, 2], 2),
        ([29.0, 31.0, 60.0], [2, 3, 1, 2, 3, 1, 2, 3], 3),
        ([10.0, 40.0, 60.0, 80.0], [1, 2, 3, 1, 2, 1, 2, 1], 2),
    ],
)
def test_beats_are_counted_from_downbeats(downbeats: list[float], numbers: list[int], meter: int) -> None:
    found, commonest = numbered(np.arange(10.0, 90.0, 10.0), np.array(downbeats))
    assert (found.tolist(), commonest) == (numbers, meter)


@pytest.mark.usefixtures("click_file")
def test_beats_of_a_song_are_those_of_the_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    # Trackers are kept for the process, and so would be this test's network.
    monkeypatch.setattr("choreo.music.beat_tracking.heard._loaded", beat_tracker)
    song = audio(clicks(np.arange(0.5, 7.9, 0.5), 4, 8.2))
    np.testing.assert_array_equal(heard_beats(song, "beat_this").times, beat_tracker("beat_this").track(song).times)


def test_trackers_that_can_be_used(click_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_trackers() == TRACKERS
    monkeypatch.delenv(VARIABLE)
    assert usable_trackers() == SHIPPED_TRACKERS
    with pytest.raises(MissingDependency, match=f"set {VARIABLE}"):
        beat_tracker("beat_this").track(audio(clicks(np.arange(0.5, 3.0, 0.5), 4, 3.2)))


@pytest.mark.parametrize(
    ("error", "match", "make"),
    [
        (MissingDependency, "no file", lambda path: path),
        (MissingDependency, "no file", lambda path: path.parent),
        (InvalidArtifact, "cannot be loaded", lambda path: (path.write_bytes(b"no network"), path)[1]),
        (InvalidArtifact, "whose inputs", lambda path: write_network(path, KERNEL[:, :64])),
        (InvalidArtifact, "whose inputs", lambda path: write_network(path, KERNEL, frames=1500)),
        (InvalidArtifact, "whose inputs", lambda path: write_network(path, KERNEL, kind=TensorProto.FLOAT16)),
        (InvalidArtifact, "whose outputs", lambda path: write_network(path, KERNEL, outputs=("beat",))),
        (InvalidArtifact, "whose outputs", lambda path: write_network(path, KERNEL, outputs=("beat", "bar"))),
        (InvalidArtifact, "answers beat of shape", lambda path: write_network(path, KERNEL, pad=3)),
        (NonFiniteOutput, "NaN", lambda path: write_network(path, KERNEL, (0, np.nan))),
        (NonFiniteOutput, "NaN", lambda path: write_network(path, KERNEL, (np.inf, 0))),
    ],
)
def test_files_that_are_no_such_network_are_refused(
    tmp_path: Path, error: type[ChoreoError], match: str, make: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(make(tmp_path / "net.onnx")))
    with pytest.raises(error, match=match) as caught:
        BeatThis.given().logits(np.zeros((50, BANDS), np.float32))
    assert VARIABLE in str(caught.value)


def test_a_network_that_fails_names_the_setting(tmp_path: Path) -> None:
    kernel = np.zeros((2, BANDS, 101), np.float32)
    network = BeatThis(write_network(tmp_path / "net.onnx", kernel, pad=0))
    with pytest.raises(InvalidArtifact, match=VARIABLE):
        network.logits(np.zeros((20, BANDS), np.float32))
