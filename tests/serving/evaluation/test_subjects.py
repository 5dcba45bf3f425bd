from pathlib import Path

import numpy as np

from choreo.data.synthetic.clips import synthetic_clips
from choreo.motion.clip import Motion
from choreo.motion.performance import Performance
from serving.evaluation.dancers import Dance
from serving.evaluation.stretches import held_out_stretches
from serving.evaluation.subjects import Judge, danced, real_and_controls, solos


def judge(folder: Path) -> Judge:
    return Judge(held_out_stretches(synthetic_clips(3, seed=3), folder, 4), None)


def test_controls_have_one_motion_per_stretch(tmp_path: Path) -> None:
    made = judge(tmp_path)
    subjects = {motions.name: motions for motions in real_and_controls(made)}
    assert list(subjects) == ["gt", "gt_shuffled", "noise", "mean_pose", "frames_shuffled"]
    assert {len(motions) for motions in subjects.values()} == {4}
    for positions, stretch in zip(subjects["gt"].positions, made.stretches, strict=True):
        np.testing.assert_array_equal(positions, stretch.positions)
    assert np.ptp(subjects["mean_pose"].positions[0], axis=0).max() == 0


def test_every_dancer_of_a_duet_is_scored_with_the_music_of_its_stretch(tmp_path: Path) -> None:
    made = judge(tmp_path)
    duets = [Performance((Motion(s.positions), Motion(s.positions[::-1].copy()))) for s in made.stretches]
    generated, shuffled = danced(made, [Dance(duet) for duet in duets])
    assert (generated.name, shuffled.name) == ("generated", "shuffled")
    assert len(generated) == len(shuffled) == 8
    assert generated.captions == [s.prompt for s in made.stretches for _ in range(2)]
    assert generated.beats is not None
    for i, stretch in enumerate(made.stretches):
        np.testing.assert_array_equal(generated.positions[2 * i + 1], stretch.positions[::-1])
        assert generated.beats[2 * i] is generated.beats[2 * i + 1] is stretch.beats


def test_priors_are_a_subject_only_if_all_are_known(tmp_path: Path) -> None:
    made = judge(tmp_path)
    dances = [Dance(solo, stretch.positions) for solo, stretch in zip(_solos(made), made.stretches, strict=True)]
    assert [m.name for m in danced(made, dances)] == ["generated", "shuffled", "retrieval"]
    assert [m.name for m in danced(made, [*dances[:-1], Dance(dances[-1].performance)])] == ["generated", "shuffled"]


def _solos(made: Judge) -> list[Performance]:
    return solos([s.positions for s in made.stretches])
