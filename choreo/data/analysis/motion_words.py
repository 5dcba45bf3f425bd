"""Which motions captions name: a vocabulary of movements and dances, and the words that it does not know."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

_WORD: Final = re.compile(r"[a-z]+")
_COMPOUNDS: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\btap[ -]?danc\w*", "tapdance"),
        (r"\bbreak[ -]?danc\w*", "breakdance"),
        (r"\bcha[ -]?cha(?:[ -]?chas?)?\b", "chacha"),
        (r"\bhip[ -]?hop\b", "hiphop"),
        (r"\bback[ -]?flip", "backflip"),
        (r"\bhand[ -]?stand", "handstand"),
        (r"\bmoon[ -]?walk", "moonwalk"),
        (r"\bcart[ -]?wheel", "cartwheel"),
        (r"\bjumping[ -]jacks?\b", "jumpingjack"),
    )
)
"""Names that are written in several ways, or whose parts are other motions (the hop of hip hop)."""

DANCES: Final[Mapping[str, str]] = MappingProxyType({
    "ballet": "ballet arabesque jete pirouette glissade plie", "breakdance": "breakdance", "cha-cha": "chacha",
    "charleston": "charleston", "dance": "dance", "flamenco": "flamenco", "foxtrot": "foxtrot", "hip hop": "hiphop",
    "jazz": "jazz", "jive": "jive", "krump": "krump", "locking": "locking", "moonwalk": "moonwalk",
    "popping": "popping", "rumba": "rumba", "salsa": "salsa", "samba": "samba", "tango": "tango",
    "tap dance": "tapdance", "waltz": "waltz",
})  # fmt: skip
"""Dances and the words that name them."""
MOVEMENTS: Final[Mapping[str, str]] = MappingProxyType({
    "backflip": "backflip", "balance": "balance", "bend": "bend bow lean", "bounce": "bounce", "cartwheel": "cartwheel",
    "catch": "catch", "clap": "clap", "climb": "climb", "crawl": "crawl", "crouch": "crouch squat kneel",
    "dribble": "dribble", "drink": "drink", "fall": "fall stumble",
    "fight": "fight punch strike boxing spar karate kata",
    "flip": "flip somersault", "glide": "glide slide", "handstand": "handstand", "hold": "hold grab",
    "jump": "jump hop leap skip", "jumping jack": "jumpingjack", "kick": "kick", "lie": "lie", "lift": "lift",
    "march": "march", "pick": "pick", "point": "point", "pose": "pose", "pull": "pull", "push": "push",
    "raise": "raise", "reach": "reach", "roll": "roll", "run": "run jog sprint", "shake": "shake", "sit": "sit",
    "slap": "slap", "spin": "spin twirl whirl", "stamp": "stamp", "stand": "stand", "step": "step",
    "stretch": "stretch", "sway": "sway", "sweep": "sweep", "swim": "swim", "swing": "swing", "throw": "throw",
    "tiptoe": "tiptoe", "turn": "turn rotate", "twist": "twist", "walk": "walk stride", "wash": "wash", "wave": "wave",
})  # fmt: skip
"""Movements and the verbs that name them."""
_IRREGULAR: Final[Mapping[str, str]] = MappingProxyType({
    "bend": "bent", "catch": "caught", "drink": "drank", "fall": "fell", "fight": "fought", "hold": "held",
    "kneel": "knelt", "lie": "lying lay", "run": "ran", "shake": "shook", "sit": "sat", "slide": "slid",
    "spin": "spun", "stand": "stood", "strike": "struck", "sweep": "swept", "swim": "swam", "swing": "swung",
    "throw": "threw thrown",
})  # fmt: skip
_SAYS_NOTHING: Final = """
    a above across after all along an and another are around as at away back backward backwards be before body both
    by direction do does doing down each en for forward forwards from front he her his in into is it its left like
    man motion move moves moving of off on once one onto or other out over people person right same several she side
    sides sideways slightly slowly some someone something s t that the their them then they this three through time
    times to towards twice two under until up upper very way while with woman dancer performs perform performing
    music arm arms body foot feet hand hands head hip hips knee knees leg legs low high start starts stop stops make
    makes
"""
_SILENT: Final = frozenset(_SAYS_NOTHING.split())
"""Words that say nothing of the motion, or of every motion: function words, directions, parts of the body."""


def motions_in(text: str) -> frozenset[str]:
    """Names of the movements and dances (`MOVEMENTS`, `DANCES`) that a sentence or a genre's name mentions."""
    return frozenset(motion for word in _words(text) if (motion := _FORMS.get(word)) is not None)


def other_words(text: str) -> frozenset[str]:
    """Words of a sentence that name no known motion and are not function words: what the vocabulary may lack."""
    return frozenset(word for word in _words(text) if word not in _FORMS and word not in _SILENT and len(word) > 1)


def is_dance(motions: Iterable[str]) -> bool:
    """Whether one of the motions is a dance."""
    return any(motion in DANCES for motion in motions)


def commonest(counts: Mapping[str, int], most: int) -> list[tuple[str, int]]:
    """The most frequent entries; equal ones by name, so that a report does not depend on the order of reading."""
    return sorted(Counter(counts).items(), key=lambda entry: (-entry[1], entry[0]))[:most]


def _words(text: str) -> list[str]:
    text = text.lower()
    for pattern, replacement in _COMPOUNDS:
        text = pattern.sub(replacement, text)
    return _WORD.findall(text)


def _forms(word: str) -> set[str]:
    """A verb's or noun's inflected forms; some that do not exist, which does no harm."""
    stem = word.removesuffix("e")
    found = {word, f"{word}s", f"{word}es", f"{stem}ing", f"{stem}ed", *_IRREGULAR.get(word, "").split()}
    return found | {f"{word}{word[-1]}{ending}" for ending in ("ing", "ed")}


_FORMS: Final[Mapping[str, str]] = MappingProxyType(
    {form: motion for words in (MOVEMENTS, DANCES) for motion, verbs in words.items() for verb in verbs.split()
     for form in _forms(verb)}
)  # fmt: skip
"""Motion by inflected form."""
