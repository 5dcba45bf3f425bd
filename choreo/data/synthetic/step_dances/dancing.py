"""Step dances by seed: a sequence of figures, a dancer's own manner, and sentences about them."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.synthetic.step_dances.body import animate
from choreo.data.synthetic.step_dances.catalogue import STEP_DANCES
from choreo.data.synthetic.step_dances.figures import Character, Role, StepDance
from choreo.data.synthetic.step_dances.floor_plan import Section, plan
from choreo.data.synthetic.step_dances.holds import Carriage
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.skeleton import FPS

Array = NDArray[np.float64]

MIN_TEMPO, MAX_TEMPO, MAX_SECONDS = 60.0, 240.0, 600.0
_LEAD_IN_BARS: Final = 2
"""Bars danced before the first frame, so that a dance does not begin from standing."""
_DRIFT: Final = (0.08, 0.04, 0.04)
"""Size of the slow twist, lean and tilt of the trunk, radians."""
_MIN_SENTENCE: Final = 45
"""Figures that are seen for fewer frames are not mentioned."""


@dataclass(frozen=True)
class Sentence:
    """What happens in frames `start` to `end` - 1."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class StepDanced:
    """A dance to a steady beat.

    Attributes:
        motion: round(30 seconds) frames at 30 fps, with rotations.
        beats: of the music, seconds (n,); the first, at 0, begins a bar.
        downbeats: those of them that begin a bar.
        sentences: about the whole dance, then about its figures.
    """

    motion: Motion
    beats: NDArray[np.float64]
    downbeats: NDArray[np.float64]
    sentences: tuple[Sentence, ...]


def dance_steps(name: str, tempo: float, seconds: float = 12.0, seed: int = 0) -> StepDanced:
    """Dance figures of a dance to music of constant tempo; deterministic.

    A foot stands exactly still while it carries weight, and arrives on its count. Figures, role, manner and arms come
    from the seed.

    Args:
        name: in `STEP_DANCES`.
        tempo: BPM; the dance's own are `STEP_DANCES[name].tempos`.
        seconds: length.
        seed: of the variations.

    Raises:
        InvalidInput: unknown dance, tempo outside 60..240, seconds outside 0.1..600, or a negative seed.
    """
    if name not in STEP_DANCES:
        raise InvalidInput("dance", f"must be one of {', '.join(STEP_DANCES)}, got {name!r}")
    if not MIN_TEMPO <= tempo <= MAX_TEMPO:
        raise InvalidInput("tempo", f"must be between {MIN_TEMPO:g} and {MAX_TEMPO:g} BPM, got {tempo:g}")
    if not 0.1 <= seconds <= MAX_SECONDS:
        raise InvalidInput("seconds", f"must be between 0.1 and {MAX_SECONDS:g}, got {seconds:g}")
    if seed < 0:
        raise InvalidInput("seed", f"must not be negative, got {seed}")
    dance, rng = STEP_DANCES[name], np.random.default_rng(seed)
    role: Role = "lead" if rng.random() < 0.5 else "follow"
    character, carriage = own_manner(dance.character, rng)
    beat, bar = 60 / tempo, dance.music.beats_per_bar
    lead_in = _LEAD_IN_BARS * bar
    placed, sections = plan(dance, lead_in + seconds / beat + 2 * bar, character.step, role, rng)
    times = np.arange(round(FPS * seconds)) / FPS
    drift = _drift(times, rng)
    body = animate(placed, times + lead_in * beat, beat, character, role, carriage, drift)
    beats = np.arange(0, seconds, beat)
    meta = {"source": "synthetic choreographer", "dance": name, "genre": dance.genre, "tempo": tempo, "seed": seed}
    motion = Motion(body.positions.astype(np.float32), FPS, body.local.astype(np.float32), meta)
    return StepDanced(motion, beats, beats[::bar], _sentences(dance, sections, lead_in, beat, len(times), rng))


def own_manner(character: Character, rng: np.random.Generator) -> tuple[Character, Carriage]:
    """The character of a dance as one dancer dances it: size of steps, knees, hips, sway and arms vary."""
    size, low, hips, sway, arms = rng.uniform((0.85, 0.8, 0.75, 0.7, 0.7), (1.1, 1.4, 1.2, 1.3, 1.3))
    raised, bend, lean = rng.normal(0, (0.08, 0.1, 0.02))
    own = replace(
        character,
        step=character.step * size,
        lift=character.lift * (0.85 + 0.15 * size),
        knee=character.knee * low,
        bounce=character.bounce * low,
        roll=character.roll * hips,
        hips=character.hips * hips,
        free_heel=character.free_heel * hips,
        sway=character.sway * sway,
        lean=character.lean + lean,
        arms=character.arms * arms,
    )
    return own, Carriage(float(raised), float(bend), float(rng.uniform(0.6, 1.0)))


def _drift(times: Array, rng: np.random.Generator) -> Array:
    """Slow twist, lean and tilt of the trunk (T, 3) by a few degrees, different in every dance."""
    rates, phases = rng.uniform(0.06, 0.16, (3, 2)), rng.uniform(0, 2 * np.pi, (3, 2))
    waves = np.sin(2 * np.pi * times[:, None, None] * rates + phases).mean(-1)
    return np.asarray(waves * _DRIFT)


def _sentences(
    dance: StepDance, sections: list[Section], lead_in: int, beat: float, frames: int, rng: np.random.Generator
) -> tuple[Sentence, ...]:
    """Two sentences about the whole dance, and one about each figure, repetitions together."""
    out = [Sentence(str(text), 0, frames) for text in rng.choice(dance.captions, 2, replace=False)]
    runs: list[tuple[str, int, int]] = []
    for section in sections:
        start, end = (round((b - lead_in) * beat * FPS) for b in (section.beat, section.beat + section.beats))
        phrase = dance.figures[section.name].phrase
        if runs and runs[-1][0] == phrase:
            phrase, start, _ = runs.pop()
        runs.append((phrase, start, end))
    for phrase, start, end in runs:
        start, end = max(start, 0), min(end, frames)
        if end - start >= _MIN_SENTENCE:
            who = str(rng.choice(("a dancer does", "a person dances", "the dancer steps")))
            out.append(Sentence(f"{who} {phrase} in a {dance.genre}", start, end))
    return tuple(out)
