"""What trimming in the manner of RaMoS would remove from a data set, and what that costs dance.

RaMoS (Rapid Motion Synthesis, a pipeline on AMASS in HumanML3D's form) uses sequences of 200 frames, which
are 10 s at HumanML3D's 20 fps, excludes sequences with joints of high velocity, and excludes uncommon motions "like
tapdance and backflip". It states no limit of velocity and no threshold of rarity: `TrimRules` has them as parameters.
Nothing in this project is trimmed so.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from choreo.data.analysis.clip_facts import ClipFacts
from choreo.errors import InvalidInput
from choreo.motion.skeleton import FPS

NAMED: Final = frozenset({"tap dance", "backflip"})
"""Motions that are excluded by name."""
LIMITS: Final = (3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
"""Limits of velocity, m/s, that are compared."""
SPIKE: Final = 2
"""Frames; a run of fast frames that is no longer may be an error of tracking."""
MIN_CLIPS: Final = 3
"""Motions of fewer clips are not listed among what a limit costs."""


class TrimRules(BaseModel):
    """When a sequence is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(10.0, ge=0.5, le=600, description="length of a sequence; shorter ones and rests are lost")
    speed: float = Field(5.0, ge=0.1, le=100, description="m/s that no joint may exceed in a sequence")
    rare_share: float = Field(0.01, ge=0, le=1, description="a motion that fewer of the captioned clips name is rare")

    @property
    def length(self) -> int:
        """Frames of a sequence."""
        return round(self.seconds * FPS)


def trim_rules(seconds: float, speed: float) -> TrimRules:
    """The rules with these limits.

    Raises:
        InvalidInput: one of them is out of range or not a number.
    """
    try:
        return TrimRules(seconds=seconds, speed=speed)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(f"trim-{first['loc'][0]}", f"{first['msg']}, got {first['input']}") from error


class Trimming:
    """Frames of each clip that the rules remove.

    Args:
        clips: of the data set.
        rules: of the trimming.
    """

    def __init__(self, clips: Sequence[ClipFacts], rules: TrimRules) -> None:
        self._clips, self._rules = clips, rules
        captioned = [clip for clip in clips if clip.captions]
        named_by = Counter(motion for clip in captioned for motion in clip.motions)
        rare = {motion for motion, count in named_by.items() if count < rules.rare_share * len(captioned)}
        self.uncommon = tuple(sorted(rare | (NAMED & named_by.keys())))
        """Motions that count as uncommon in this data set."""

    def removed(self, clip: ClipFacts) -> dict[str, int]:
        """Frames that each rule alone takes from a clip, and all of them together."""
        return {name: rule(self, clip) for name, rule in _RULES.items()}

    def document(self) -> dict[str, Any]:
        """A JSON-serialisable form: shares of the frames by kind of motion and family, and what limits would cost.

        `fast_frames` is the share of the frames that are too fast themselves, `spikes` the share of the runs of such
        frames that are at most `SPIKE` frames long.
        """
        return {
            "rules": self._rules.model_dump(),
            "uncommon": list(self.uncommon),
            "kinds": [self._row(kind, clips) for kind, clips in _kinds(self._clips).items()],
            "families": [self._row(name, clips) for name, clips in by_family(self._clips).items()],
            "limits": [self._limit(limit) for limit in LIMITS],
            "motions": self._motions(),
        }

    def _row(self, name: str, clips: Sequence[ClipFacts]) -> dict[str, Any]:
        total, lost = sum(clip.frames for clip in clips), Counter[str]()
        for clip in clips:
            lost.update(self.removed(clip))
        runs = np.concatenate([np.zeros(0, int), *(clip.fast_runs(self._rules.speed) for clip in clips)])
        return {
            "name": name,
            "minutes": round(total / FPS / 60, 2),
            **{rule: round(lost[rule] / max(total, 1), 4) for rule in _RULES},
            "fast_frames": round(int(runs.sum()) / max(total, 1), 4),
            "spikes": round(int((runs <= SPIKE).sum()) / max(len(runs), 1), 4),
        }

    def _limit(self, limit: float) -> dict[str, float]:
        kinds = _kinds(self._clips).items()
        return {"max_speed": limit, **{kind: self._share_too_fast(clips, limit) for kind, clips in kinds}}

    def _motions(self) -> list[dict[str, Any]]:
        """Motions by the share of their clips' frames that are lost to speed, the largest first."""
        of: dict[str, list[ClipFacts]] = {}
        for clip in self._clips:
            for motion in clip.motions:
                of.setdefault(motion, []).append(clip)
        rows = [
            {"motion": m, "clips": len(clips), "too_fast": self._share_too_fast(clips, self._rules.speed)}
            for m, clips in of.items()
            if len(clips) >= MIN_CLIPS
        ]
        return sorted(rows, key=lambda row: (-row["too_fast"], -row["clips"], row["motion"]))

    def _share_too_fast(self, clips: Sequence[ClipFacts], limit: float) -> float:
        lost = sum(clip.too_fast(limit, self._rules.length) for clip in clips)
        return round(lost / max(sum(clip.frames for clip in clips), 1), 4)

    def _left_over(self, clip: ClipFacts) -> int:
        return clip.frames % self._rules.length

    def _too_fast(self, clip: ClipFacts) -> int:
        return clip.too_fast(self._rules.speed, self._rules.length)

    def _uncommon(self, clip: ClipFacts) -> int:
        return clip.frames if not clip.motions.isdisjoint(self.uncommon) else 0

    def _any(self, clip: ClipFacts) -> int:
        rest, length = self._left_over(clip), self._rules.length
        if self._uncommon(clip):
            return clip.frames
        whole = clip.fastest[: clip.frames - rest].reshape(-1, length)
        return rest + length * int((whole > self._rules.speed).any(axis=1).sum())


_RULES: Final[Mapping[str, Callable[[Trimming, ClipFacts], int]]] = MappingProxyType({
    "length": Trimming._left_over, "speed": Trimming._too_fast, "uncommon": Trimming._uncommon,
    "together": Trimming._any,
})  # fmt: skip


def by_family(clips: Sequence[ClipFacts]) -> dict[str, list[ClipFacts]]:
    """Clips by family, the longest family first."""
    found: dict[str, list[ClipFacts]] = {}
    for clip in clips:
        found.setdefault(clip.family, []).append(clip)
    return dict(sorted(found.items(), key=lambda entry: (-sum(clip.frames for clip in entry[1]), entry[0])))


def _kinds(clips: Sequence[ClipFacts]) -> dict[str, list[ClipFacts]]:
    return {
        "dance": [clip for clip in clips if clip.dance],
        "other": [clip for clip in clips if not clip.dance],
        "all": list(clips),
    }
