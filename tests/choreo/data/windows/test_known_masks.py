import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from second_representation import POSITIONS_AND_VELOCITIES
from tiny_training import FakeText, clips, recipe

from choreo.data.windows import known_masks
from choreo.data.windows.known_masks import pose_mask
from choreo.data.windows.windows import WindowOptions, Windows
from choreo.generators.unet.training import generator_config
from choreo.motion.representation import ROOT_VELOCITY_66, Representation
from choreo.motion.skeleton import WINDOW
from choreo.training.held_out_dances import CONDITIONS
from choreo.training.windowed import TrainingData, cut_windows

R = ROOT_VELOCITY_66
KINDS = ("starts", "random")
GOLDEN = {2: 1452, 10: 264, 14: 64, 16: 1914, 22: 64}
"""Numbers given of windows 0 to 23, where any are; from the program before there were other masks."""
EACH = pytest.mark.parametrize("representation", [R, POSITIONS_AND_VELOCITIES], ids=lambda r: r.name)


def masks(count: int = 2000, frames: int = WINDOW, representation: Representation = R) -> list[np.ndarray]:
    return [known_masks.random(np.random.default_rng(i), frames, WINDOW, representation) for i in range(count)]


def test_the_default_gives_what_it_always_gave() -> None:
    windows = Windows(clips(), FakeText(), 200, seed=4)
    sums = {i: int(windows[i]["known_mask"].sum()) for i in range(24)}
    assert {i: total for i, total in sums.items() if total} == GOLDEN


@EACH
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), frames=st.integers(1, 120))
def test_random_masks_are_binary_functions_of_the_seed_and_end_with_the_motion(
    representation: Representation, seed: int, frames: int
) -> None:
    one, two = (known_masks.random(np.random.default_rng(seed), frames, 120, representation) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (120, representation.channels)
    assert set(np.unique(one)) <= {0, 1}
    assert not one[frames:].any()


@EACH
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_poses_whose_frame_before_is_unknown_have_no_velocity(representation: Representation, seed: int) -> None:
    given_frames = np.random.default_rng(seed).random(40) < 0.4
    mask = pose_mask(given_frames, representation)
    velocity = mask[:, representation.unknown_in_a_lone_pose]
    others = np.delete(mask, np.arange(representation.channels)[representation.unknown_in_a_lone_pose], axis=1)
    assert (others == given_frames[:, None]).all()
    for t in range(40):
        assert (velocity[t] == (t > 0 and given_frames[t] and given_frames[t - 1])).all()
    continued = pose_mask(given_frames, representation, continues=True)
    assert (continued[0] == given_frames[0]).all()
    np.testing.assert_array_equal(continued[1:], mask[1:])


def test_random_masks_give_what_each_kind_of_request_gives() -> None:
    found = masks()
    poses = [m[:, 3:].all(axis=1) for m in found]
    velocity = [m[:, :2].all(axis=1) for m in found]
    # A quarter has nothing, within four standard deviations of a binomial of 2000.
    assert abs(sum(not m.any() for m in found) - 500) < 4 * np.sqrt(2000 / 4 * 0.75)
    # starts: a lone pose or a clip and nothing after it
    first_pose = [p[0] and p.sum() == 1 and not m[:, :2].any() for p, m in zip(poses, found, strict=True)]
    clip = [p[:2].all() and p.sum() <= 30 and not p[30:].any() for p in poses]
    assert sum(first_pose) > 60
    assert sum(clip) > 100
    # end poses, held spans that leave the rest free, trajectories alone, joints without the rest of the body
    assert sum(bool(p[-1]) for p in poses) > 200
    assert sum(30 < p.sum() < WINDOW for p in poses) > 200
    assert sum(v.all() and not p.any() for p, v in zip(poses, velocity, strict=True)) > 60
    joints = [m[:, 3:].reshape(WINDOW, 21, 3).any(axis=(0, 2)) for m in found]
    assert sum(0 < j.sum() < 21 for j in joints) > 60
    # nearly no window is given whole
    assert sum(bool(m.all()) for m in found) < 80


def test_sparse_frames_are_1_to_20_percent_of_the_motion() -> None:
    sparse = [m[:, 3:].all(axis=1) for m in masks()]
    lone = [p for p in sparse if p[1:-1].any() and not (p[1:] & p[:-1]).any()]
    assert len(lone) > 50
    assert max(p.sum() for p in lone) <= 2 * 0.2 * WINDOW + 2


def test_windows_give_the_numbers_of_their_own_motion() -> None:
    windows = Windows(clips(), FakeText(), 40, 3, WindowOptions(masks="random"))
    given_some = 0
    for i in range(40):
        window = windows[i]
        np.testing.assert_array_equal(window["known"], window["x0"] * window["known_mask"])
        given_some += bool(window["known_mask"].any())
    assert 20 < given_some < 40


def test_other_draws_of_a_window_do_not_depend_on_the_masks() -> None:
    ours, theirs = (Windows(clips(), FakeText(), 20, 3, WindowOptions(masks=m, drop_all=0.0)) for m in KINDS)  # type: ignore[arg-type]
    for i in range(20):
        for name in ("x0", "music", "text", "prior"):
            np.testing.assert_array_equal(ours[i][name], theirs[i][name])


def test_windows_that_are_danced_to_give_nothing() -> None:
    windows = Windows(clips(), FakeText(), 20, 3, CONDITIONS)
    assert not any(windows[i]["known_mask"].any() for i in range(20))
    hidden = Windows(clips(), FakeText(), 20, 3, WindowOptions(masks="random", known=0.0))
    assert not any(hidden[i]["known_mask"].any() for i in range(20))


@pytest.mark.parametrize("kind", ["starts", "random"])
def test_a_recipe_names_the_masks_it_trains_with(kind: str) -> None:
    r = recipe().model_copy(update={"data": recipe().data.model_validate({"masks": kind})})
    data = TrainingData(clips(), clips(), FakeText())
    cut = cut_windows(r, generator_config(r, clips()).spec, data)
    assert cut.training.options.masks == kind
    assert cut.validation is not None
    assert cut.validation.options.masks == "starts"


def test_an_unknown_kind_of_masks_is_refused() -> None:
    with pytest.raises(ValueError, match="masks"):
        recipe().data.model_validate({"masks": "everything"})
