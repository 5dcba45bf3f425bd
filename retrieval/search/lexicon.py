"""What the words of prompts mean for the motion: stems, synonyms, and the motion statistics they ask for."""

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.library.phrases import STATS

_WORD: Final = re.compile(r"[a-z]+")
_SUFFIXES: Final = ("ingly", "edly", "ing", "ers", "er", "ed", "es", "ly", "s", "e")
_MIN_STEM: Final = 3
_STOP_WORDS: Final = (
    # Without "dance": a library may also hold everyday motion.
    "a an the and or of to in on at with by for from his her their its it he she they is are was be being been as into "
    "over then while who that this person persons someone somebody people human man woman boy girl figure subject "
    "perform performs performing performed performer does doing do did move moves moving movement motion music song "
    "one two some very there"
)
_STOP: Final = frozenset(_STOP_WORDS.split())
_SYNONYMS: Final = {
    "dance": "dance dances dancing danced dancer dancers",
    "turn": "turn turns turning turned spin spins spinning twirl twirls pirouette pirouettes rotate rotates rotating "
    "rotation rotations revolve whirl circle circles circling swivel tournant",
    "jump": "jump jumps jumping hop hops hopping leap leaps leaping jete jetes bounce bounces bouncing skip skips",
    "walk": "walk walks walking stride strides striding stroll strolls march marches marching",
    "run": "run runs running jog jogs jogging sprint sprints",
    "kick": "kick kicks kicking kicked",
    "punch": "punch punches punching strike strikes striking hit hits hitting box boxes boxing jab",
    "bend": "bend bends bending bent bow bows bowing stoop stoops scoop",
    "crouch": "crouch crouches crouching squat squats squatting kneel kneels kneeling duck lunge lunges",
    "raise": "raise raises raising raised lift lifts lifting lifted rise rises",
    "arm": "arm arms hand hands wrist wrists elbow elbows",
    "leg": "leg legs foot feet knee knees",
    "sway": "sway sways swaying swing swings swinging rock rocks rocking",
    "slow": "slow slowly calm calmly gentle gently lento leisurely casual casually",
    "fast": "fast quick quickly brisk briskly rapid rapidly energetic energetically lively vigorous vigorously hurried",
    "ballet": "ballet balletic arabesque plie releve",
    "martial": "martial karate kata kungfu ninjutsu taekwondo",
}
_STEM_OF: Final = {word: stem for stem, words in _SYNONYMS.items() for word in words.split()}

_QUALITIES: Final = {
    "fast": {"speed": 1.0},
    "slow": {"speed": -1.0},
    "turn": {"turning": 1.0, "net_turn": 0.5},
    "jump": {"bounce": 1.0, "vertical_range": 0.5},
    "walk": {"travel": 1.0, "net_travel": 0.5},
    "run": {"travel": 1.0, "speed": 0.5},
    "travel": {"travel": 1.0},
    "forward": {"net_travel": 1.0},
    "straight": {"net_travel": 1.0, "turning": -0.5},
    "still": {"speed": -1.0, "travel": -0.5},
    "stand": {"travel": -1.0, "speed": -0.5},
    "spot": {"travel": -1.0},
    "place": {"travel": -1.0},
    "arm": {"arm_speed": 1.0},
    "punch": {"arm_speed": 1.0},
    "raise": {"arm_height": 1.0},
    "high": {"arm_height": 1.0},
    "kick": {"leg_speed": 1.0},
    "leg": {"leg_speed": 1.0},
    "large": {"stance": 1.0, "travel": 0.5},
    "wide": {"stance": 1.0, "arm_spread": 0.5},
    "crouch": {"crouch": -1.0, "vertical_range": 0.5},
    "bend": {"crouch": -1.0, "vertical_range": 0.5},
    "low": {"crouch": -1.0},
}
"""Motion statistics that a stem asks for, in standard deviations of the library."""


def stems(text: str) -> frozenset[str]:
    """Stems of the words of a text except stop words; synonyms of motion share a stem."""
    return frozenset(_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP)


def wanted_motion(asked: frozenset[str]) -> NDArray[np.float64]:
    """Unit vector (14,) in the space of `STATS` in the direction that stems ask for; zeros if they ask for none."""
    out = np.zeros(len(STATS))
    for stem in asked:
        for name, weight in _QUALITIES.get(stem, {}).items():
            out[STATS.index(name)] += weight
    norm = float(np.linalg.norm(out))
    return out / norm if norm > 0 else out


def _stem(word: str) -> str:
    if word in _STEM_OF:
        return _STEM_OF[word]
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _MIN_STEM:
            stem = word.removesuffix(suffix)
            return _STEM_OF.get(stem, stem[:-1] if len(stem) > _MIN_STEM and stem[-1] == stem[-2] else stem)
    return word
