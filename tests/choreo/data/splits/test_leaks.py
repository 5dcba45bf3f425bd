import numpy as np
import pytest
from dataset_files import dance

from choreo.data.clip import Clip
from choreo.data.layouts.recording import Recording, to_clip
from choreo.data.splits.leaks import HOP, STRETCH, find_leaks
from choreo.motion.resample import resample
from choreo.motion.rotations import yaw


def clip(key: str, positions: np.ndarray) -> Clip:
    return to_clip(Recording(key=key, group=key, family="f", positions=positions, fps=30, licence="cc0", residual=0.0))


def test_a_spliced_stretch_is_found_where_it_is() -> None:
    ours, theirs = dance(0, 6.0), dance(4, 6.0)
    spliced = np.concatenate([theirs[:60], ours[40:120] @ yaw(2.0).T + (3, 0, 1), theirs[60:100]])
    report = find_leaks([clip("held", spliced)], [clip("training", ours), clip("other", dance(7, 6.0))])
    leak = report.leaks[0]
    assert (leak.key, leak.other) == ("held", "training")
    assert leak.start == pytest.approx(60, abs=HOP)
    assert leak.frames == pytest.approx(80, abs=2 * HOP)
    assert leak.other_start - leak.start == -20
    assert leak.distance < 1e-3
    assert report.share["held"] == pytest.approx(80 / 180, abs=0.1)
    assert report.total == report.share["held"]


def test_noise_does_not_hide_it() -> None:
    noise = np.random.default_rng(0).normal(0, 0.008, dance(0, 6.0).shape)
    report = find_leaks([clip("held", dance(0, 6.0) + noise)], [clip("training", dance(0, 6.0))])
    assert report.total > 0.9


def test_different_dances_do_not_leak() -> None:
    report = find_leaks([clip("held", dance(0, 6.0))], [clip("training", dance(4, 6.0))])
    assert report.leaks == ()
    assert report.total == 0


def test_the_same_at_another_speed_is_found_where_it_is_looked_for() -> None:
    ours = dance(0, 6.0)
    slower = resample(ours, 30, 36)  # 1.2 times as long
    pair = [clip("held", slower)], [clip("training", ours)]
    assert (
        find_leaks(*pair, max_distance=0.01, speeds=(1.2,)).total
        > find_leaks(*pair, max_distance=0.01, speeds=(1.0,)).total
    )


def test_short_and_no_clips_have_no_stretches() -> None:
    short = clip("held", dance()[: STRETCH - 1])
    assert find_leaks([short], [clip("training", dance())]).total == 0
    assert find_leaks([clip("held", dance())], [short]).leaks == ()
    assert find_leaks([], []).total == 0
