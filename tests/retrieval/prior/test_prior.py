from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_phrases import WordEncoder, dance

from choreo.data.synthetic.dances import synthesize_dance
from choreo.errors import InvalidInput
from choreo.evaluation.kinematics import jerk
from choreo.motion.clip import Motion
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.kinematics import heading
from choreo.motion.representation import decode, encode
from choreo.motion.skeleton import BONE_LENGTHS, PARENTS
from retrieval.building.build import PhraseSource, build_library
from retrieval.library.library import Hit, PhraseLibrary
from retrieval.library.phrases import Phrase, describe
from retrieval.prior.prior import BuiltPrior, build_prior


def hits(library: PhraseLibrary, *rows: int) -> list[Hit]:
    return [Hit(library[row], 0.5, rank, 0.5) for rank, row in enumerate(rows)]


def positions(prior: BuiltPrior, fps: float = 30) -> np.ndarray:
    return decode(prior.features, fps)


def bones(p: np.ndarray) -> np.ndarray:
    return np.linalg.norm(p[:, 1:] - p[:, PARENTS[1:]], axis=-1)


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
    st.integers(1, 500),
    st.floats(50, 200),
    st.floats(0, 1),
    st.sampled_from([30.0, 20.0, 60.0]),
)
def test_any_prior_is_whole_rigid_smooth_and_canonical(library, rows, num_frames, tempo, late, fps) -> None:
    prior = build_prior(library, hits(library, *rows), num_frames, np.arange(late, 20, 60 / tempo), fps)
    assert prior.features.shape == (num_frames, 66)
    assert prior.features.dtype == prior.mask.dtype == np.float32
    assert prior.mask.tolist() == [1.0] * num_frames
    p = positions(prior, fps)
    assert np.isfinite(p).all()
    assert np.abs(bones(p) - BONE_LENGTHS[1:]).max() < 1e-6
    assert np.abs(p[0, 0, [0, 2]]).max() < 1e-6
    assert abs(heading(p[:1])[0]) < 1e-5
    assert np.abs(np.diff(p, axis=0)).max(initial=0) * fps < 14
    assert p[..., 1].min() > -0.15
    assert sum(used["weight"] for used in prior.phrases) == pytest.approx(1, abs=1e-3)


def test_a_phrase_alone_is_itself(library: PhraseLibrary) -> None:
    for row in range(len(library)):
        phrase = library[row]
        p = positions(build_prior(library, hits(library, row), phrase.num_frames))
        # Half a millimetre of rounding, and what it does along a chain of bones.
        assert np.abs(p - library.motion(phrase)).max() < 6e-3


def test_the_phrases_are_named_with_their_share(library: PhraseLibrary) -> None:
    prior = build_prior(library, hits(library, 1, 2), 1800)
    first, second = prior.phrases
    assert (first["id"], second["id"]) == (library[1].id, library[2].id)
    assert first["weight"] >= second["weight"] > 0.2
    assert first["weight"] + second["weight"] == pytest.approx(1)
    assert len(prior.seams) >= 10


def test_it_is_deterministic_and_does_not_change_the_library(library: PhraseLibrary) -> None:
    before = library.motion(library[4])
    one, two = (build_prior(library, hits(library, 4, 0), 400, np.arange(0, 15, 0.48)) for _ in range(2))
    assert np.array_equal(one.features, two.features)
    assert np.array_equal(library.motion(library[4]), before)


@pytest.mark.parametrize("num_frames", [1, 2, 3])
def test_the_shortest_priors_work(library: PhraseLibrary, num_frames: int) -> None:
    prior = build_prior(library, hits(library, 3, 1), num_frames, [0.2, 0.7, 1.2])
    assert prior.features.shape == (num_frames, 66)
    assert np.isfinite(prior.features).all()
    assert prior.phrases[0]["id"] == library[3].id


def test_no_hits_make_an_empty_prior(library: PhraseLibrary) -> None:
    prior = build_prior(library, [], 77)
    assert prior.features.shape == (77, 66)
    assert not prior.features.any()
    assert not prior.mask.any()
    assert prior.phrases == []


@pytest.mark.parametrize(
    ("num_frames", "fps", "field"),
    [
        (0, 30, "num_frames"),
        (-1, 30, "num_frames"),
        (10**7, 30, "num_frames"),
        (10, 0, "fps"),
        (10, float("nan"), "fps"),
    ],
)
def test_senseless_lengths_are_refused(library: PhraseLibrary, num_frames: int, fps: float, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        build_prior(library, hits(library, 0), num_frames, fps=fps)
    assert caught.value.field == field


def test_the_body_sinks_on_the_beats_of_the_song(library: PhraseLibrary) -> None:
    """The bouncer of 100 BPM, whose pelvis is lowest on beats, to a song of 108."""
    beats = np.arange(0.4, 40, 60 / 108)
    height = build_prior(library, hits(library, 0), 900, beats).features[:, 2]
    lowest = np.flatnonzero((height[1:-1] < height[:-2]) & (height[1:-1] <= height[2:])) + 1
    off = np.abs(lowest[:, None] / 30 - beats).min(1)
    assert len(lowest) >= 45
    assert np.median(off) < 0.04
    assert np.percentile(off, 90) < 0.09


@pytest.mark.parametrize("rows", [(0, 4, 2, 5), (3, 1), (1,), (5, 0, 1)])
def test_seams_are_smooth(library: PhraseLibrary, rows: tuple[int, ...]) -> None:
    prior = build_prior(library, hits(library, *rows), 900, np.arange(0.3, 40, 0.5))
    change = np.linalg.norm(np.diff(positions(prior), n=2, axis=0), axis=-1)
    own = [np.linalg.norm(np.diff(library.motion(library[row]), n=2, axis=0), axis=-1) for row in rows]
    assert prior.seams
    # Nothing jumps: at a seam velocities change no more than dancing changes them elsewhere.
    for seam in prior.seams:
        assert change[seam - 3 : seam + 12].max() < 1.5 * max(c.max() for c in own)
    assert jerk(positions(prior)) < 1.5 * np.mean([jerk(library.motion(library[row])) for row in rows])


def test_the_dancer_goes_on_facing_the_same_way(library: PhraseLibrary) -> None:
    prior = build_prior(library, hits(library, 2, 5, 4), 900)
    turning = np.abs(np.diff(np.unwrap(heading(positions(prior)))))
    for seam in prior.seams:
        assert turning[seam - 3 : seam + 4].max() < 1.1 * turning.max(initial=0.15, where=_away(prior))


def _away(prior: BuiltPrior) -> np.ndarray:
    """Steps (T - 1,) that are not within half a second of a seam."""
    steps = np.arange(len(prior.features) - 1)
    return np.abs(steps[:, None] - np.array(prior.seams)).min(1) > 15


@pytest.mark.parametrize("rows", [(0, 4, 2, 5), (3, 1), (1,), (5, 0, 1)])
def test_standing_feet_stay_where_they_are_across_seams(library: PhraseLibrary, rows: tuple[int, ...]) -> None:
    prior = build_prior(library, hits(library, *rows), 1800, np.arange(0.3, 70, 0.5))
    own = max(foot_skating_ratio(library.motion(library[row])) for row in rows)
    assert foot_skating_ratio(positions(prior)) <= 1.1 * own + 0.01


def test_travel_of_a_phrase_is_kept(library: PhraseLibrary) -> None:
    phrase = library[5]
    p = positions(build_prior(library, hits(library, 5), phrase.num_frames))
    own = library.motion(phrase)
    assert np.ptp(own[:, 0, 2]) > 1.0
    assert np.ptp(p[:, 0, 2]) == pytest.approx(np.ptp(own[:, 0, 2]), abs=0.01)


@pytest.fixture(scope="module")
def opposites(tmp_path_factory: pytest.TempPathFactory) -> PhraseLibrary:
    """A walk, and the same walk with left and right exchanged: every swing is in opposite phase."""
    one = dance("walk", 120, seed=3)
    flip = np.diag([-1.0, 1.0, 1.0]).astype(np.float32)
    assert isinstance(one.motion, Motion)
    from choreo.motion.skeleton import MIRROR

    other = PhraseSource(Motion(one.motion.positions[:, MIRROR] @ flip), "mirrored", beats=one.beats, source="mirrored")
    out = tmp_path_factory.mktemp("opposites") / "lib"
    build_library([one, other], out, WordEncoder())
    return PhraseLibrary.open(out)


def test_phrases_in_opposite_phase_keep_their_amplitude(opposites: PhraseLibrary) -> None:
    def swing(p: np.ndarray) -> float:
        relative, _ = encode(p)
        return float(relative[:, 3:].reshape(len(p), 21, 3)[:, [3, 4, 19, 20]].std(0).sum())

    own = np.mean([swing(opposites.motion(opposites[i])) for i in (0, 1)])
    both = build_prior(opposites, hits(opposites, 0, 1), 480, np.arange(0, 20, 0.5))
    assert swing(positions(both)) > 0.95 * own


def test_the_library_may_be_gone_from_its_folder_while_it_is_open(tmp_path: Path) -> None:
    out = tmp_path / "lib"
    build_library([dance()], out, WordEncoder())
    library = PhraseLibrary.open(out)
    build_library([dance("kick")], out, WordEncoder())
    assert build_prior(library, hits(library, 0), 300).mask.all()
    assert library[0].source == "bounce-120"


class FakeLibrary:
    """Phrases of two frames, which cutting never makes."""

    def __init__(self) -> None:
        moving = synthesize_dance("walk", 120, 1.0, 0)[0].positions
        self.made = [describe(moving[i : i + 2], beats=beats) for i, beats in ((3, []), (9, [0.0, 0.04]), (14, [0.02]))]
        self.hits = [Hit(phrase, 0.5, rank, 0.5) for rank, (phrase, _) in enumerate(self.made)]

    def motion(self, phrase: Phrase) -> np.ndarray:
        return next(rows for made, rows in self.made if made is phrase).astype(np.float32) / 1000


@pytest.mark.parametrize("beats", [[], np.arange(0.1, 9, 0.5)])
@pytest.mark.parametrize("count", [1, 3])
def test_phrases_of_two_frames_make_a_motion(beats, count: int) -> None:
    library = FakeLibrary()
    prior = build_prior(library, library.hits[:count], 100, beats)  # type: ignore[arg-type]
    p = positions(prior)
    assert np.isfinite(p).all()
    assert np.abs(bones(p) - BONE_LENGTHS[1:]).max() < 1e-6
    assert np.abs(np.diff(p, axis=0)).max() * 30 < 14


def test_ten_minutes_are_bounded(library: PhraseLibrary) -> None:
    prior = build_prior(library, hits(library, 0, 4, 3), 18000, np.arange(0.2, 600, 0.5))
    assert np.isfinite(prior.features).all()
    assert len(prior.seams) <= 18000 / 50
    assert [used["weight"] > 0.1 for used in prior.phrases] == [True] * 3
    assert prior.phrases[0]["weight"] == max(used["weight"] for used in prior.phrases)
