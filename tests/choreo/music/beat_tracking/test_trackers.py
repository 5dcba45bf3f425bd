"""Trackers on songs whose beats are known, on silence, and on songs with pauses."""

import json

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.evaluation.beat_tracking import beat_f_measure, is_tempo_right
from choreo.music.audio import Audio
from choreo.music.beat_tracking.beats import NO_BEATS, SHIPPED_TRACKERS, TRACKERS, Beats, beat_tracker
from choreo.music.beat_tracking.heard import heard_beats
from choreo.music.encoders import Dsp35Encoder
from choreo.music.features import BEAT
from choreo.music.synth import synthesize_song

NOISE = np.random.default_rng(0).normal(0, 0.05, 5 * 22_050).astype(np.float32)


def song(tempo: float, seconds: float = 12.0, style: str = "house", pause: float = 0.0) -> tuple[Audio, np.ndarray]:
    """A song after a pause, and its beats."""
    samples, rate, beats = synthesize_song(tempo, seconds, style=style)
    samples = np.concatenate([np.zeros(round(pause * rate), np.float32), samples])
    return Audio(samples, rate, len(samples) / rate, ""), beats + pause


@pytest.mark.parametrize(
    ("tempo", "style", "meters"), [(90, "breakbeat", {2, 4}), (120, "house", {2, 4}), (132, "waltz", {3})]
)
def test_beatnet_hears_beats_bars_and_how_sure_they_are(tempo: float, style: str, meters: set[int]) -> None:
    audio, beats = song(tempo, style=style)
    heard = beat_tracker("beatnet").track(audio)
    assert beat_f_measure(beats, heard.times) > 0.9
    assert is_tempo_right(tempo, heard.tempo)
    assert heard.meter in meters
    numbers = heard.numbers
    np.testing.assert_array_equal(numbers[1:], numbers[:-1] % heard.meter + 1)
    assert heard.confidence > 0.5
    near = np.abs(heard.times[:, None] - beats).min(1)
    assert np.median(near) < 0.01


def test_noise_is_heard_with_less_confidence_than_a_song() -> None:
    heard = beat_tracker("beatnet").track(Audio(NOISE, 22_050, 5.0, ""))
    assert heard.confidence < 0.3


@pytest.mark.parametrize("name", SHIPPED_TRACKERS)
def test_silence_and_what_is_too_short_have_no_beats(name: str) -> None:
    tracker = beat_tracker(name)
    for length in (1000, 5 * 22_050):
        heard = tracker.track(Audio(np.zeros(length, np.float32), 22_050, length / 22_050, ""))
        assert (len(heard.times), heard.tempo, heard.confidence, heard.meter) == (0, 0, 0, 0)
    blip = NOISE[:3000]
    assert len(tracker.track(Audio(blip, 22_050, len(blip) / 22_050, "")).times) == 0


def test_beats_begin_after_a_pause_and_may_change_with_it() -> None:
    first, beats = song(120, 8)
    second, later = song(90, 8, pause=2.0)
    samples = np.concatenate([first.samples, second.samples])
    heard = beat_tracker("beatnet").track(Audio(samples, 22_050, len(samples) / 22_050, ""))
    assert not ((heard.times > first.seconds + 0.3) & (heard.times < first.seconds + 1.9)).any()
    for known, start, end in ((beats, 0.0, 8.2), (later + first.seconds, first.seconds + 1.9, 99.0)):
        inside = heard.times[(heard.times >= start) & (heard.times < end)]
        assert beat_f_measure(known, inside) > 0.9


@pytest.mark.parametrize("name", SHIPPED_TRACKERS)
def test_an_encoder_holds_what_its_tracker_hears(name: str) -> None:
    audio, _ = song(104)
    heard, encoded = beat_tracker(name).track(audio), Dsp35Encoder(name).encode(audio)
    np.testing.assert_array_equal(encoded.beats, heard.times)
    np.testing.assert_array_equal(encoded.downbeats, heard.downbeats)
    assert encoded.beat_confidence == heard.confidence
    assert (len(heard.downbeats) > 0) == (name == "beatnet")
    np.testing.assert_array_equal(np.flatnonzero(encoded.features[:, BEAT]), np.rint(heard.times * 30))


@pytest.mark.parametrize("name", SHIPPED_TRACKERS)
def test_a_document_is_json(name: str) -> None:
    document = json.loads(json.dumps(beat_tracker(name).track(song(120)[0]).document()))
    assert len(document["beats"]) == len(document["strengths"]) > 10
    assert set(document["downbeats"]) <= set(document["beats"])
    assert document["time_signature"] in {"beatnet": ("2/4", "4/4"), "librosa": (None,)}[name]


def test_trackers_are_found_by_name() -> None:
    assert [beat_tracker(name).name for name in TRACKERS] == list(TRACKERS)
    with pytest.raises(InvalidInput, match="beatnet or librosa or beat_this"):
        beat_tracker("ears")


def test_beats_that_are_not_sure_are_not_danced_to() -> None:
    audio = Audio(NOISE, 22_050, 5.0, "")
    assert len(beat_tracker("beatnet").track(audio).times) > 0
    assert heard_beats(audio) is NO_BEATS
    encoded = Dsp35Encoder().encode(audio)
    assert (len(encoded.beats), len(encoded.downbeats), encoded.tempo, encoded.beat_confidence) == (0, 0, 0, 0)


def test_beats_lie_within_the_frames_of_the_song() -> None:
    beats = Beats(np.array([0.0, 0.5, 0.99]), np.array([1, 2, 1]), np.ones(3), 0.9, 2)
    assert beats.before(30).times.tolist() == [0, 0.5]
    assert beats.before(30).downbeats.tolist() == [0]
    assert beats.before(31) is beats
