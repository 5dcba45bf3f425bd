"""Description of a data set as one JSON-serialisable document, from one pass over its clips."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from choreo.data.analysis.clip_facts import ClipFacts, facts_of
from choreo.data.analysis.joint_speeds import SpeedHistogram
from choreo.data.analysis.motion_words import DANCES, commonest
from choreo.data.analysis.trimming import Trimming, TrimRules, by_family
from choreo.data.clip import Clip
from choreo.data.datasets import Dataset, Progress
from choreo.data.licences import inventory, is_cleared
from choreo.data.splits.split import TRAINING
from choreo.errors import InvalidInput
from choreo.motion.skeleton import FPS

QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
BINS: Final = 20
MAX_OTHER_WORDS: Final = 20
"""Words without a known motion in a description."""
MAX_SKIPPED: Final = 50
"""Reasons for recordings that were left out."""


def describe(dataset: Dataset, rules: TrimRules | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Read every clip of a data set once and say what there is.

    Args:
        dataset: in any layout.
        rules: of the trimming that is tried; `TrimRules()` where none are given.
        progress: called before each clip.

    Raises:
        InvalidInput: no clip can be used.
    """
    facts: list[ClipFacts] = []
    histogram = SpeedHistogram()
    licences = inventory(_noted(dataset.clips(progress=progress), facts, histogram))
    if not facts:
        reasons = "; ".join(f"{s.name} {s.reason}" for s in dataset.skipped[:3])
        raise InvalidInput("data", f"none of the {len(dataset)} recordings can be used: {reasons}")
    return {
        "layout": dataset.name,
        "clips": len(facts),
        "groups": len({clip.group for clip in facts}),
        "minutes": _minutes(facts),
        "skipped": [asdict(skipped) for skipped in dataset.skipped[:MAX_SKIPPED]],
        "num_skipped": len(dataset.skipped),
        "lengths": lengths(facts),
        "captions": captions(facts),
        "speeds": histogram.document(),
        "families": families(facts),
        "licences": licences,
        "splits": splits(dataset, facts),
        "music": music(facts),
        "trimming": Trimming(facts, rules or TrimRules()).document(),
    }


def lengths(clips: Sequence[ClipFacts]) -> dict[str, Any]:
    """Quantiles and a histogram of the clips' lengths, seconds; bins are of equal ratio."""
    seconds = np.array([clip.frames for clip in clips]) / FPS
    counts, edges = np.histogram(seconds, np.geomspace(0.99 * seconds.min(), 1.01 * seconds.max(), BINS + 1))
    return {
        "mean": round(float(seconds.mean()), 2),
        "quantiles": {f"{q:g}": round(float(np.quantile(seconds, q)), 2) for q in QUANTILES},
        "histogram": {"edges": np.round(edges, 3).tolist(), "counts": counts.tolist()},
    }


def captions(clips: Sequence[ClipFacts]) -> dict[str, Any]:
    """Motions that captions name, the commonest first, and the commonest words that name none.

    A motion's `minutes` are those of all clips that name it, wherever in the clip the captions stand.
    """
    by_clip = Counter(motion for clip in clips for motion in clip.motions)
    by_caption = Counter(motion for clip in clips for caption in clip.captions for motion in caption)
    captioned = [clip for clip in clips if clip.captions]
    return {
        "captions": sum(len(clip.captions) for clip in clips),
        "captioned_clips": len(captioned),
        "without_motion": sum(not clip.motions for clip in captioned),
        "motions": [
            {
                "motion": motion, "dance": motion in DANCES, "clips": count, "captions": by_caption[motion],
                "minutes": _minutes([clip for clip in clips if motion in clip.motions]),
            }
            for motion, count in commonest(by_clip, len(by_clip))
        ],
        "other_words": [
            {"word": word, "clips": count}
            for word, count in commonest(Counter(w for clip in clips for w in clip.words), MAX_OTHER_WORDS)
        ],
    }  # fmt: skip


def families(clips: Sequence[ClipFacts]) -> dict[str, Any]:
    """A row per family, and how many families of equal size would be as balanced: exp of the entropy of the shares."""
    found = by_family(clips)
    shares = [_frames(members) / _frames(clips) for members in found.values()]
    rows = [
        {
            "family": name,
            "clips": len(members),
            "groups": len({clip.group for clip in members}),
            "minutes": _minutes(members),
            "share": round(share, 4),
            "dance": round(_frames(clip for clip in members if clip.dance) / _frames(members), 4),
            "music": round(sum(clip.music for clip in members) / _frames(members), 4),
            "cleared": round(_frames(clip for clip in members if is_cleared(clip.licence)) / _frames(members), 4),
        }
        for (name, members), share in zip(found.items(), shares, strict=True)
    ]
    return {"effective": round(math.exp(-sum(share * math.log(share) for share in shares)), 2), "rows": rows}


def splits(dataset: Dataset, clips: Sequence[ClipFacts]) -> dict[str, Any]:
    """Parts of the data set's split, and families of which the training part has nothing.

    Where the split is cut in time, the parts list the same clips, and their minutes are those before the cut.
    """
    try:
        split = dataset.split()
    except InvalidInput as error:
        return {"origin": "none", "reason": error.message, "parts": [], "not_trained": []}
    by_key = {clip.key: clip for clip in clips}
    parts = {part: [by_key[key] for key in keys if key in by_key] for part, keys in split.parts.items()}
    held_out = {clip.family for part, members in parts.items() if part != TRAINING for clip in members}
    return {
        "origin": split.origin,
        "parts": [
            {
                "part": part, "clips": len(members), "groups": len({clip.group for clip in members}),
                "minutes": _minutes(members), "families": len({clip.family for clip in members}),
            }
            for part, members in parts.items()
        ],
        "not_trained": sorted(held_out - {clip.family for clip in parts.get(TRAINING, [])}),
    }  # fmt: skip


def music(clips: Sequence[ClipFacts]) -> dict[str, Any]:
    """How much of the motion has music: of all, and of dance."""

    def share(members: Sequence[ClipFacts]) -> float:
        return round(sum(clip.music for clip in members) / max(_frames(members), 1), 4)

    return {
        "clips": sum(clip.music > 0 for clip in clips),
        "minutes": round(sum(clip.music for clip in clips) / FPS / 60, 2),
        "share": share(clips),
        "share_of_dance": share([clip for clip in clips if clip.dance]),
    }


def _noted(clips: Iterable[Clip], facts: list[ClipFacts], histogram: SpeedHistogram) -> Iterator[Clip]:
    """Pass clips on one at a time, so that no more than one is in memory."""
    for clip in clips:
        found, speeds = facts_of(clip)
        facts.append(found)
        histogram.add(speeds)
        yield clip


def _frames(clips: Iterable[ClipFacts]) -> int:
    return sum(clip.frames for clip in clips)


def _minutes(clips: Iterable[ClipFacts]) -> float:
    return round(_frames(clips) / FPS / 60, 2)
