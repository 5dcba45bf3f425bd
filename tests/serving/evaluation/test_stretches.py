from pathlib import Path

import numpy as np

from choreo.data.synthetic.clips import synthetic_clips
from choreo.motion.skeleton import FPS, WINDOW
from choreo.music.encoded import precomputed
from serving.evaluation.stretches import PLAIN_CAPTION, held_out_stretches, windows


def test_half_of_the_stretches_are_warped_onto_beats(tmp_path: Path) -> None:
    stretches = held_out_stretches(synthetic_clips(4, seed=3), tmp_path, 8)
    assert [s.beats is not None for s in stretches] == [False] * 4 + [True] * 4
    assert all(s.positions.shape == (WINDOW, 22, 3) for s in stretches)
    assert all(s.music is not None and len(s.music) == WINDOW for s in stretches)
    assert len({s.key for s in stretches}) == 8


def test_music_that_motion_was_warped_onto_names_its_own_beats(tmp_path: Path) -> None:
    for stretch in held_out_stretches(synthetic_clips(4, seed=3), tmp_path, 8)[4:]:
        assert stretch.music is not None
        assert stretch.beats is not None
        heard = precomputed(stretch.music).beats
        np.testing.assert_allclose(heard, stretch.beats[stretch.beats < WINDOW / FPS], atol=0.5 / FPS + 1e-6)


def test_a_prompt_is_a_caption_with_something_that_is_true_of_the_motion() -> None:
    clips = synthetic_clips(2)
    for stretch in windows(clips, hop=WINDOW // 2):
        clip = next(c for c in clips if stretch.key.startswith(f"{c.key}@"))
        assert stretch.prompt.startswith(tuple(caption.text for caption in clip.captions))
    bare = windows([clip.part(0, WINDOW) for clip in clips])
    assert not any(s.prompt.startswith(PLAIN_CAPTION + ",") for s in bare)


def test_clips_shorter_than_a_window_have_none() -> None:
    assert windows([clip.part(0, WINDOW - 1) for clip in synthetic_clips(2)]) == []


def test_windows_are_frames_of_their_clip() -> None:
    (clip,) = synthetic_clips(1)
    later = windows([clip], hop=50)[1]
    assert later.music is not None
    assert clip.music is not None
    np.testing.assert_array_equal(later.music, clip.music[50 : 50 + WINDOW])
