from dataclasses import replace

import numpy as np

from choreo.data.splits.leaks import find_leaks
from choreo.data.splits.purge import MIN_FRAMES, without_leaks
from choreo.data.synthetic.clips import synthetic_clips


def test_what_is_held_out_is_cut_out_of_the_training_clips_and_nothing_else() -> None:
    one, two = synthetic_clips(2, seed=3)
    held_out = replace(two.part(100, 220), key="held out", group="held out")
    kept = without_leaks([one, two], [held_out])
    assert one.key in {clip.key for clip in kept}
    assert find_leaks([held_out], kept, max_distance=0.01).total == 0
    assert all(clip.num_frames >= MIN_FRAMES for clip in kept)
    again = [clip for clip in kept if clip.group == two.group]
    for clip in again:
        first = int(clip.key.split("[")[1].split(":")[0])
        np.testing.assert_array_equal(clip.features, two.features[first : first + clip.num_frames])


def test_clips_that_share_nothing_come_back_as_they_are() -> None:
    one, two = synthetic_clips(2, seed=3)
    turned = replace(two, features=two.features * 1.3)
    assert without_leaks([one], [turned]) == [one]
