"""What may train weights that are shipped: nothing that is not known to be cleared."""

from dataclasses import replace

import numpy as np
import pytest

from choreo.data.clip import Caption, Clip
from choreo.data.licences import BABEL, CC0, CMU, KIT, OWN, TANG, Licences, card, inventory, is_cleared, licensed


def clip(key: str, licence: str, *captions: Caption) -> Clip:
    frames = 1800
    return Clip(
        key, key, "family", np.zeros((frames, 66), np.float32), np.zeros(frames, np.float32), None,
        np.zeros((frames, 4), np.float32), 0.0, licence, captions,
    )  # fmt: skip


@pytest.mark.parametrize("tag", [TANG, KIT, BABEL, "", "apache-2.0", "CMU-MOCAP", "mit"])
def test_what_is_not_listed_or_not_allowed_is_not_cleared(tag: str) -> None:
    assert not is_cleared(tag)


def test_a_cleared_run_sees_cleared_clips_and_captions_only() -> None:
    mocap = clip(
        "05_01", CMU, Caption("modern", 0, 9, CMU), Caption("kit", 0, 9, KIT), Caption("babel", 0, 9, BABEL),
        Caption("own", 0, 9, CC0), Caption("as the clip", 0, 9),
    )  # fmt: skip
    waltz = clip("W_1", TANG, Caption("a waltz", 0, 9, CC0))
    made, foreign = clip("s", OWN, Caption("a step", 0, 9)), clip("x", "")
    clips = [mocap, waltz, made, foreign]
    kept = licensed(clips, Licences.CLEARED)
    assert [c.key for c in kept] == ["05_01", "s"]
    assert [c.text for c in kept[0].captions] == ["modern", "own", "as the clip"]
    assert kept[1].captions == made.captions
    assert licensed(clips, "all") == clips


def test_the_inventory_has_a_row_per_terms() -> None:
    rows = inventory([clip("a", CMU, Caption("x", 0, 9, KIT), Caption("y", 0, 9)), clip("b", CMU), clip("c", "odd")])
    assert [(row["tag"], row["cleared"], row["minutes"], row["captions"]) for row in rows] == [
        (CMU, True, 2.0, 1), (KIT, False, 0.0, 1), ("odd", False, 1.0, 0)
    ]  # fmt: skip
    table = card(rows)
    assert "mocap.cs.cmu.edu" in table
    assert table.count("**no**") == 2


def test_parts_of_a_clip_keep_the_terms_of_captions() -> None:
    whole = clip("a", CMU, Caption("x", 0, 900, KIT))
    assert whole.part(100, 500).captions == (Caption("x", 0, 400, KIT),)
    assert replace(whole, licence=TANG).part(0, 10).licence == TANG
