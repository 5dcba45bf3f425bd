"""Which dances a song suits, by its tempo, its metre and its tags.

Tempos and metres are those that dances are taught and judged at (World DanceSport Federation for ballroom and Latin
dances; usual tempos of club music for the rest), not fitted to songs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.music.beat_tracking.beats import Beats
from choreo.music.tagging.tagger import SongTags


@dataclass(frozen=True)
class Dance:
    """What music a dance is danced to.

    Attributes:
        low, high: beats per minute.
        meter: 3, or 4 for all even metres.
        music: in words, which tags are compared with.
    """

    low: float
    high: float
    meter: int
    music: str


DANCES: Final = {
    "waltz": Dance(84, 90, 3, "classical waltz music, slow strings and piano"),
    "viennese waltz": Dance(160, 180, 3, "classical waltz music, fast strings, orchestra"),
    "tango": Dance(112, 132, 4, "tango music, violin, piano and accordion"),
    "rumba": Dance(96, 108, 4, "slow latin music, guitar, romantic"),
    "cha cha": Dance(112, 128, 4, "latin pop music, party, percussion"),
    "salsa": Dance(150, 220, 4, "latin jazz music, fast, brass, piano and percussion"),
    "samba": Dance(96, 104, 4, "brazilian music, party, percussion"),
    "rock and roll": Dance(160, 184, 4, "rock and roll, 60s oldies, swing"),
    "charleston": Dance(180, 240, 4, "swing jazz music, oldies"),
    "disco": Dance(110, 130, 4, "disco and funk music, 70s, dance, party"),
    "house": Dance(118, 130, 4, "house music, electronic, dance, techno"),
    "hip hop": Dance(80, 115, 4, "hip-hop and rnb music, funk, beats"),
    "lyrical": Dance(60, 90, 4, "soft piano ballad, mellow, beautiful, sad"),
    "pop": Dance(95, 130, 4, "pop music, catchy, female vocalists"),
}
"""By name, in small letters with spaces."""

TEMPO_SPREAD: Final = 0.06
"""Octaves outside of a dance's tempos at which it fits 1 / e^.5 as well."""
WRONG_METER: Final = 3.0
"""Nats that a dance in three loses in a song in four, and the other way round."""
NATS_OF_TAGS: Final = 10.0
"""Nats for a cosine of 1 between a song's tags and a dance's music."""
_TAGS: Final = 5


def tempo_scores(dances: Sequence[Dance], beats: Beats) -> NDArray[np.float64]:
    """How well each dance (n,) fits tempo and metre, in nats, 0 at best; zeros where no beats were heard."""
    if not beats.tempo:
        return np.zeros(len(dances))
    low, high = (np.log2([getattr(dance, end) for dance in dances]) for end in ("low", "high"))
    tempo = np.log2(beats.tempo)
    outside = np.maximum(np.maximum(low - tempo, tempo - high), 0)
    threes = np.array([dance.meter == 3 for dance in dances])
    wrong = (threes != (beats.meter == 3)) & (beats.meter > 0)
    out: NDArray[np.float64] = -0.5 * np.minimum(outside / TEMPO_SPREAD, 6) ** 2 - WRONG_METER * wrong
    return out


def tag_scores(
    dances: Sequence[Dance], tags: SongTags, encode: Callable[[Sequence[str]], NDArray[np.float32]]
) -> NDArray[np.float64]:
    """How well each dance (n,) fits what the song sounds like, in nats; zeros for silence.

    Args:
        dances: to choose from.
        tags: of the song.
        encode: sentences to vectors of unit length, such as `TextEncoder.encode`.
    """
    words = [name for name, _ in tags.top(_TAGS)]
    if not words:
        return np.zeros(len(dances))
    song, *music = encode([f"{', '.join(words)} music", *(dance.music for dance in dances)])
    out: NDArray[np.float64] = NATS_OF_TAGS * (np.stack(music) @ song).astype(np.float64)
    return out


def dances_by_tempo(beats: Beats) -> list[str]:
    """Dances whose tempo and metre a song has, the closest first; none where no beats were heard."""
    scores = tempo_scores(list(DANCES.values()), beats)
    ranked = sorted(zip(DANCES, scores.tolist(), strict=True), key=lambda dance: -dance[1])
    return [name for name, score in ranked if score > -WRONG_METER] if beats.tempo else []
