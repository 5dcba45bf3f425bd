import numpy as np
import pytest
from pydantic import ValidationError

from choreo.data.analysis.clip_facts import ClipFacts
from choreo.data.analysis.trimming import Trimming, TrimRules
from choreo.motion.skeleton import FPS


def clip(key: str, frames: int, *captions: set[str], fast_at: int | None = None, dance: bool = False) -> ClipFacts:
    """A slow clip, but for one frame."""
    fastest = np.ones(frames, np.float32)
    if fast_at is not None:
        fastest[fast_at] = 7
    named = tuple(map(frozenset[str], captions))
    return ClipFacts(key, key, "family", "own", frames, 0, named, frozenset(), fastest, dance)


def test_each_rule_takes_what_it_says() -> None:
    rules = TrimRules(seconds=10, speed=5, rare_share=0)
    slow, fast = clip("slow", 700, {"walk"}), clip("fast", 700, {"kick"}, fast_at=350)
    short, flip = clip("short", 299, {"walk"}, fast_at=0), clip("flip", 600, {"backflip"})
    trimming = Trimming([slow, fast, short, flip], rules)
    assert trimming.removed(slow) == {"length": 100, "speed": 0, "uncommon": 0, "together": 100}
    # The second sequence of three is too fast.
    assert trimming.removed(fast) == {"length": 100, "speed": 300, "uncommon": 0, "together": 400}
    assert trimming.removed(short) == {"length": 299, "speed": 299, "uncommon": 0, "together": 299}
    assert trimming.removed(flip) == {"length": 0, "speed": 0, "uncommon": 600, "together": 600}


def test_the_rest_of_a_clip_is_a_sequence_for_speed_and_counted_once_together() -> None:
    trimming = Trimming([found := clip("a", 350, {"walk"}, fast_at=349)], TrimRules())
    assert trimming.removed(found) == {"length": 50, "speed": 50, "uncommon": 0, "together": 50}


def test_rare_motions_and_those_named_are_uncommon() -> None:
    clips = [clip(f"w{i}", 300, {"walk"}) for i in range(150)]
    clips += [clip("rare", 300, {"walk"}, {"crawl"}), *(clip(f"t{i}", 300, {"tap dance"}) for i in range(10))]
    trimming = Trimming([*clips, clip("uncaptioned", 300)], TrimRules())
    assert trimming.uncommon == ("crawl", "tap dance")
    assert Trimming([clip("a", 300)], TrimRules()).uncommon == ()


def test_runs_of_fast_frames_are_told_from_spikes() -> None:
    found = clip("a", 300, {"walk"}, fast_at=0)
    found.fastest[100:110] = 9
    found.fastest[298:] = 9
    assert found.fast_runs(5).tolist() == [1, 10, 2]
    row = Trimming([found, clip("b", 300)], TrimRules()).document()["kinds"][-1]
    assert row["fast_frames"] == pytest.approx(13 / 600, abs=1e-4)
    assert row["spikes"] == pytest.approx(2 / 3, abs=1e-4)
    assert Trimming([clip("b", 300)], TrimRules()).document()["kinds"][-1]["spikes"] == 0


def test_what_dance_loses_is_told_from_what_other_motion_loses() -> None:
    danced = [clip("d1", 300, {"kick"}, fast_at=3, dance=True), clip("d2", 300, {"kick"}, dance=True)]
    found = Trimming([*danced, clip("o", 300, {"kick"})], TrimRules(rare_share=0)).document()
    kinds = {row["name"]: row for row in found["kinds"]}
    assert kinds["dance"]["speed"] == 0.5
    assert kinds["other"]["speed"] == 0
    assert kinds["all"]["speed"] == pytest.approx(1 / 3, abs=1e-4)
    assert kinds["all"]["minutes"] == pytest.approx(900 / FPS / 60)
    limits = {row["max_speed"]: row["dance"] for row in found["limits"]}
    assert limits[6.0] == 0.5
    assert limits[8.0] == 0
    assert found["motions"] == [{"motion": "kick", "clips": 3, "too_fast": pytest.approx(1 / 3, abs=1e-4)}]


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"speed": float("nan")}, {"rare_share": 2}, {"fast": 3}])
def test_rules_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrimRules(**wrong)
