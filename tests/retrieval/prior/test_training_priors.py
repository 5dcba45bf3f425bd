from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_phrases import WordEncoder, dance

from choreo.data.layouts.packs import group_of
from choreo.data.synthetic.clips import synthetic_clips
from choreo.errors import InvalidArtifact
from choreo.motion.kinematics import heading
from choreo.motion.representation import decode
from retrieval.building.build import build_library
from retrieval.library.library import PhraseLibrary
from retrieval.prior.training_priors import _music, from_library, with_retrieved_priors
from retrieval.search.finder import PhraseFinder


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> PhraseFinder:
    out = tmp_path_factory.mktemp("phrases") / "lib"
    moves = ("bounce", "kick", "turn", "sway", "walk", "side_step")
    build_library([dance(move, 100.0 + 5 * i) for i, move in enumerate(moves)], out, WordEncoder())
    return PhraseFinder(PhraseLibrary.open(out))


def test_each_clip_gets_priors_of_its_length_and_the_other_phrases_come_second(finder: PhraseFinder) -> None:
    clips = synthetic_clips(2, seed=1)
    first, again = (with_retrieved_priors(clips, finder, WordEncoder(), per_clip=2) for _ in range(2))
    for clip, same in zip(first, again, strict=True):
        assert len(clip.priors) == 2
        for prior, repeated in zip(clip.priors, same.priors, strict=True):
            np.testing.assert_array_equal(prior.features, repeated.features)
            assert prior.features.shape == clip.features.shape
            np.testing.assert_allclose(prior.heading, np.unwrap(heading(decode(prior.features))), atol=1e-4)
        assert not np.array_equal(clip.priors[0].features, clip.priors[1].features)


def test_clips_with_features_of_another_encoder_are_searched_by_their_rhythm(finder: PhraseFinder) -> None:
    (clip,) = synthetic_clips(1, seed=1)
    wide = replace(clip, music=np.zeros((clip.num_frames, 4800), np.float32))
    (found,) = with_retrieved_priors([wide], finder, WordEncoder())
    assert found.priors
    music = _music(wide)
    assert music is not None
    assert (music.tempo, music.summary) == (_music(clip).tempo, None)  # type: ignore[union-attr]
    assert music.beat_strength == pytest.approx(_music(clip).beat_strength, abs=0.2)  # type: ignore[union-attr]


def test_a_library_of_another_text_encoder_than_the_recipes_is_refused(tmp_path: Path) -> None:
    build_library([dance("kick", 120.0)], tmp_path / "lib", WordEncoder())
    with pytest.raises(InvalidArtifact, match="--text-encoder clip"):
        from_library(tmp_path / "lib", "clip")


def test_phrases_of_the_clips_own_dance_are_not_used(finder: PhraseFinder) -> None:
    (clip,) = synthetic_clips(1, seed=1)
    own = group_of(finder.library[0].source)
    (alone,) = with_retrieved_priors([replace(clip, group=own)], finder, WordEncoder(), per_clip=9)
    assert len(alone.priors) == 2  # five phrases are left, three to a prior
