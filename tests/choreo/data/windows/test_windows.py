from dataclasses import replace

import numpy as np
import pytest
from second_representation import POSITIONS_AND_VELOCITIES
from tiny_text_motion import FakeSentenceEncoder
from tiny_training import FakeText, clips

from choreo.data.clip import Clip, motion_features, representation_of
from choreo.data.windows.captioned import CaptionedWindows, PairOptions, Sentences, canonical_statistics
from choreo.data.windows.captions import ATTRIBUTES, attributes, mirrored
from choreo.data.windows.windows import WindowOptions, Windows, caption_key, feature_statistics
from choreo.errors import InvalidInput
from choreo.motion.representation import rotate
from choreo.music.beats import BAR, beat_phase_channels

R = POSITIONS_AND_VELOCITIES


def in_second_representation(data: list[Clip]) -> list[Clip]:
    return [replace(c, features=motion_features(c.positions(), R)[0], representation=R) for c in data]


def centred(positions: np.ndarray) -> np.ndarray:
    return positions - positions[:1, :1] * (1, 0, 1)


def test_windows_are_functions_of_seed_and_index() -> None:
    one, two = (Windows(clips(), FakeText(), 50, seed=4) for _ in range(2))
    for i in (0, 17, 49):
        for name, value in one[i].items():
            np.testing.assert_array_equal(value, two[i][name])
    assert np.abs(one[0]["x0"] - one[1]["x0"]).max() > 0.01


def test_dropping_everything_drops_music_text_prior_and_rhythm() -> None:
    windows = Windows(clips(), FakeText(), 20, 0, WindowOptions(drop_all=1.0, prior=1.0))
    for i in range(20):
        window = windows[i]
        assert not any(window[name].any() for name in ("has_music", "has_text", "prior", "rhythm"))


@pytest.mark.parametrize("frames", [64, 300])
def test_the_length_of_windows_is_given(frames: int) -> None:
    windows = Windows(clips(), FakeText(), 20, window=frames)
    for i in range(20):
        window = windows[i]
        assert {name: len(window[name]) for name in ("x0", "music", "rhythm", "prior", "known", "frame_mask")} == (
            dict.fromkeys(("x0", "music", "rhythm", "prior", "known", "frame_mask"), frames)
        )
        assert window["frame_mask"].sum() == min(frames, 240)


def test_statistics_do_not_depend_on_the_way_a_clip_faces() -> None:
    data = clips()
    turned = [replace(c, features=rotate(c.features, 1.1).astype(np.float32)) for c in data]
    for ours, theirs in zip(feature_statistics(data), feature_statistics(turned), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_captions_are_mirrored_and_completed() -> None:
    assert mirrored("Left foot, then right; a leftover") == "Right foot, then left; a leftover"
    assert caption_key("a", ATTRIBUTES[0]) == "a, slowly and calmly"


def test_windows_are_the_same_motion_in_any_representation() -> None:
    data = clips()
    options = WindowOptions(prior=1.0, known=1.0, drop_all=0.0)
    ours, theirs = (Windows(d, FakeText(), 30, 5, options) for d in (data, in_second_representation(data)))
    lone = 0
    for i in range(30):
        one, two = ours[i], theirs[i]
        assert two["x0"].shape == two["known"].shape == two["known_mask"].shape == (196, R.channels)
        assert two["prior"].shape == (196, R.channels + 1)
        for name in set(one) - {"x0", "prior", "known", "known_mask"}:
            np.testing.assert_array_equal(one[name], two[name])
        for name in ("x0", "prior"):
            frames = int(one["prior"][:, -1].sum()) if name == "prior" else int(one["frame_mask"].sum())
            a = data[0].representation.decode(one[name][:frames, : data[0].representation.channels])
            b = R.decode(two[name][:frames, : R.channels])
            # The two add up rounded velocities from the first frame, or do not.
            np.testing.assert_allclose(centred(a), centred(b), atol=1e-3)
        known_poses = two["known_mask"][:, 0] > 0
        assert (known_poses == (one["known_mask"][:, -1] > 0)).all()
        velocities = two["known_mask"][:, R.unknown_in_a_lone_pose]
        assert (velocities == one["known_mask"][:, :1]).all()
        lone += int((known_poses & (velocities[:, 0] == 0)).any())
    assert 0 < lone < 30


def test_captioned_windows_are_the_same_motion_in_any_representation() -> None:
    data = clips()
    windows = []
    for some in (data, in_second_representation(data)):
        sentences = Sentences(some, FakeSentenceEncoder(), 0.8)
        windows.append(CaptionedWindows(some, sentences, 10, 2, PairOptions(speed=0.0), window=100))
    for i in range(10):
        one, two = (w[i] for w in windows)
        assert (one["features"].shape, two["features"].shape) == ((100, 66), (100, R.channels))
        for name in set(one) - {"features"}:
            np.testing.assert_array_equal(one[name], two[name])
        frames = int(one["mask"].sum())
        np.testing.assert_allclose(
            R.joints_of(two["features"][:frames]),
            data[0].representation.joints_of(one["features"][:frames]),
            atol=1e-4,
        )
    assert [len(values) for values in canonical_statistics(in_second_representation(data))] == [R.channels] * 2


def test_attributes_are_the_same_in_any_representation() -> None:
    for clip in clips():
        features, heading = motion_features(clip.positions(), R)
        assert attributes(features, heading, R) == attributes(clip.features, heading)


def test_clips_in_different_representations_do_not_mix() -> None:
    one, two = clips()[0], in_second_representation(clips())[1]
    assert representation_of([]) is representation_of([one]) is one.representation
    with pytest.raises(InvalidInput, match="mixes the representations root-velocity-66, positions-and-velocities-132"):
        Windows([one, two], FakeText(), 5)


def test_bars_are_hidden_in_a_share_of_windows_and_nothing_else_is() -> None:
    beats = np.arange(0, 8, 0.5)
    rhythm = beat_phase_channels(beats, np.ones(240), 240, downbeats=beats[::4])
    data = [replace(clip, rhythm=rhythm) for clip in clips()[1:]]
    plain = WindowOptions(drop_music=0.0, drop_all=0.0, drop_bars=0.0)
    shown = Windows(data, FakeText(), 60, 0, plain)
    some = Windows(data, FakeText(), 60, 0, replace(plain, drop_bars=0.5))
    narrow = Windows(data, FakeText(), 60, 0, plain, rhythm_channels=4)
    hidden = 0
    for i in range(60):
        full, window = shown[i], some[i]
        assert full["rhythm"][:, 6].all()
        hidden += not window["rhythm"][:, BAR].any()
        for name in full.keys() - {"rhythm"}:
            np.testing.assert_array_equal(window[name], full[name])
        np.testing.assert_array_equal(np.delete(window["rhythm"], BAR, 1), np.delete(full["rhythm"], BAR, 1))
        np.testing.assert_array_equal(narrow[i]["rhythm"], full["rhythm"][:, :4])
    assert 15 < hidden < 45
