"""The couples that a run learns from, and the summary of them in its folder."""

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from choreo.data.couple import Couple
from choreo.data.couples import CoupleSplits, made_couples, read_couples
from choreo.data.licences import Licences, card, is_cleared, terms
from choreo.data.splits.split import HELD_OUT, TEST, TRAINING
from choreo.errors import InvalidInput
from choreo.files import atomic_write
from choreo.motion.skeleton import FPS

log = logging.getLogger(__name__)

MADE: Final = 6
"""Couples of the synthetic choreographer where there is no data; two of them are held out."""


def couple_splits(data: Path | None, licences: Licences, seed: int = 0) -> CoupleSplits:
    """Couples to train on and to validate on; those for tests are left out.

    Args:
        data: folder of archives of couples, or of a data pack; without one there are only mirror images of synthetic
            dances, to see that everything works.
        licences: which of them the run may learn from.
        seed: of the synthetic dances.

    Raises:
        InvalidInput: no couple there, or none that the run may learn from.
    """
    if data is None:
        made = made_couples(MADE, seed=seed)
        return CoupleSplits({TRAINING: tuple(made[:-2]), HELD_OUT: tuple(made[-2:])}, origin="synthetic couples")
    found = read_couples(data)
    for skipped in found.skipped:
        log.warning("skipped: %s %s", skipped.name, skipped.reason)
    parts = {part: _licensed(couples, licences) for part, couples in found.parts.items() if part != TEST}
    if not parts[TRAINING]:
        raise InvalidInput(
            "data.licences",
            "leaves nothing to train on: no couple's terms are known to allow weights that are shipped; train with a "
            "recipe that has `licences: all`",
        )
    return replace(found, parts=parts)


def _licensed(couples: Sequence[Couple], licences: Licences) -> tuple[Couple, ...]:
    return tuple(couple for couple in couples if licences is Licences.ALL or is_cleared(couple.licence))


def inventory(couples: Sequence[Couple]) -> list[dict[str, Any]]:
    """A row per licence tag, as `choreo.data.licences.inventory` gives of clips; minutes are those of the dance."""
    minutes: dict[str, float] = defaultdict(float)
    for couple in couples:
        minutes[couple.licence] += couple.num_frames / FPS / 60
    return [
        {
            "tag": tag, "origin": terms(tag).origin, "licence": terms(tag).licence, "cleared": is_cleared(tag),
            "minutes": round(minutes[tag], 1), "captions": 0,
        }
        for tag in sorted(minutes)
    ]  # fmt: skip


def write_couples_summary(folder: Path, splits: CoupleSplits) -> None:
    """Put what a run learns from into its `data.json`, and the terms of it into its `data_card.md`."""

    def of(couples: Sequence[Couple]) -> dict[str, object]:
        return {
            "couples": len(couples),
            "minutes": round(sum(c.num_frames for c in couples) / FPS / 60, 1),
            "groups": sorted({c.group for c in couples}),
            "sources": inventory(couples),
        }

    document = {
        "data_set": splits.origin,
        "training": of(splits.parts.get(TRAINING, ())),
        "validation": of(splits.parts.get(HELD_OUT, ())),
        "skipped": [asdict(skipped) for skipped in splits.skipped],
    }
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "data.json", (json.dumps(document, indent=1) + "\n").encode())
    atomic_write(folder / "data_card.md", card(inventory(splits.parts.get(TRAINING, ()))).encode())
