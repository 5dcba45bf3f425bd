"""The synthetic choreographer: procedural dances with known beats and captions, for training, tests and examples.

A move plans steps and body angles over beats, and `choreo.data.synthetic.choreography` animates a body with them. Size,
side, arms and small variations come from the seed: one move gives many dances, each reproducible.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from choreo.data.synthetic.arm_patterns import ARMS, arms
from choreo.data.synthetic.choreography import LEFT, RIGHT, STANCE, Score, Step, perform
from choreo.data.windows.captions import mirrored
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.skeleton import FPS, MIRROR

Array = NDArray[np.float64]

MIN_TEMPO, MAX_TEMPO, MAX_SECONDS = 40.0, 240.0, 600.0
_HALVE_ABOVE, _DOUBLE_BELOW = 165.0, 66.0
"""Faster music is danced at half its tempo, slower music at twice, as people do; BPM."""


@dataclass(frozen=True)
class Style:
    """Drawn from the seed: size of steps, depth of knee bends, strength of the upper body (all about 1), and arms."""

    size: float
    depth: float
    accent: float
    arms: str


@dataclass(frozen=True)
class Move:
    """A dance step.

    Attributes:
        plan: from beats (T,), number of beats and style to a score.
        caption: a sentence that begins with the dancer; may name left and right.
        genre: kind of dance.
        arms: patterns of `ARMS` that go with it.
    """

    plan: Callable[[Array, int, Style], Score]
    caption: str
    genre: str
    arms: tuple[str, ...]


def synthesize_dance(
    move: str, tempo: float = 120.0, seconds: float = 8.0, seed: int = 0
) -> tuple[Motion, NDArray[np.float64], str]:
    """Dance a move to a constant tempo; deterministic.

    Feet stand still between steps, land on beats and stay above y = 0; the pelvis starts at x = z = 0.

    Args:
        move: name in `MOVES`.
        tempo: BPM.
        seconds: length.
        seed: of the variations.

    Returns:
        Motion of round(30 seconds) frames at 30 fps with rotations; all beat times in seconds (n,), the first at 0;
        a caption.

    Raises:
        InvalidInput: unknown move, tempo outside 40..240, seconds outside 0.1..600, or a negative seed.
    """
    if move not in MOVES:
        raise InvalidInput("move", f"must be one of {', '.join(MOVES)}, got {move!r}")
    if not MIN_TEMPO <= tempo <= MAX_TEMPO:
        raise InvalidInput("tempo", f"must be between {MIN_TEMPO:g} and {MAX_TEMPO:g} BPM, got {tempo:g}")
    if not 0.1 <= seconds <= MAX_SECONDS:
        raise InvalidInput("seconds", f"must be between 0.1 and {MAX_SECONDS:g}, got {seconds:g}")
    if seed < 0:
        raise InvalidInput("seed", f"must not be negative, got {seed}")
    rng = np.random.default_rng(seed)
    chosen = MOVES[move]
    size, depth, accent = rng.uniform((0.8, 0.8, 0.75), (1.2, 1.2, 1.25)).tolist()
    style = Style(size, depth, accent, str(rng.choice(chosen.arms)))
    pace = tempo * (0.5 if tempo > _HALVE_ABOVE else 2.0 if tempo < _DOUBLE_BELOW else 1.0)
    beats = np.arange(round(FPS * seconds)) / FPS * pace / 60
    score = chosen.plan(beats, int(beats[-1]) + 2, style)
    _humanise(score, rng)
    body = perform(score, FPS * 60 / pace)
    caption = f"{chosen.caption} {ARMS[style.arms]}"
    positions, local = body.positions, body.local
    if rng.random() < 0.5:
        flip = np.diag([-1.0, 1.0, 1.0])
        positions, local = positions[:, MIRROR] @ flip, flip @ local[:, MIRROR] @ flip
        caption = mirrored(caption)
    meta = {"source": "synthetic choreographer", "move": move, "genre": chosen.genre, "tempo": tempo, "seed": seed}
    motion = Motion(positions.astype(np.float32), FPS, local.astype(np.float32), meta)
    return motion, np.arange(0, seconds, 60 / tempo), caption


def _humanise(score: Score, rng: np.random.Generator) -> None:
    """Add slow drifts of a few degrees, different in every dance."""
    seconds = score.beats * 0.5

    def drift(size: float) -> Array:
        rate, phase = rng.uniform(0.05, 0.14, 2), rng.uniform(0, 2 * np.pi, 2)
        return size * np.sin(2 * np.pi * np.outer(seconds, rate) + phase).mean(1)

    score.twist = score.twist + drift(0.12)
    score.lean = score.lean + drift(0.06)
    score.tilt = score.tilt + drift(0.06)
    for arm in score.arms:
        arm.raised = arm.raised + drift(0.12)
        arm.bend = arm.bend + drift(0.15)


def _wave(beats: Array, period: float, phase: float = 0.0) -> Array:
    """cos over `period` beats; 1 on beat `phase`."""
    return np.cos(2 * np.pi * (beats - phase) / period)


def _on_beat(beats: Array, depth: float, period: float = 1.0) -> Array:
    """A bend of the knees that is deepest, and slowest, on every beat."""
    return depth * np.exp(1.2 * (_wave(beats, period) - 1))


def _score(beats: Array, style: Style, steps: list[Step], depth: float, **angles: Array) -> Score:
    return Score(beats, steps, arms(style.arms, beats, style.accent), bend=style.depth * depth + _zero(beats), **angles)


def _zero(beats: Array) -> Array:
    return np.zeros_like(beats)


def _side_step(beats: Array, count: int, style: Style) -> Score:
    """Step, touch to one side, step, touch to the other."""
    steps, width, centre = [], 0.34 * style.size, 0.0
    for beat in range(1, count, 2):
        foot, side = (LEFT, 1.0) if beat % 4 == 1 else (RIGHT, -1.0)
        centre += side * width
        steps.append(Step(foot, beat - 0.6, beat, (centre + side * STANCE, 0.0)))
        steps.append(Step(1 - foot, beat + 0.4, beat + 1, (centre - side * 0.6 * STANCE, 0.0), lift=0.08, load=0.15))
    score = _score(beats, style, steps, 0.03, twist=0.2 * style.accent * _wave(beats, 4, 1))
    score.bend = score.bend + _on_beat(beats, 0.04 * style.depth)
    score.tilt = -0.1 * style.accent * _wave(beats, 4, 1.5)
    return score


def _bounce(beats: Array, count: int, style: Style) -> Score:
    """Bend the knees on every beat; the weight goes from side to side."""
    steps = [Step(LEFT, -0.6, 0, (0.18, 0.02)), Step(RIGHT, -0.6, 0, (-0.18, -0.02))]
    score = _score(beats, style, steps, 0.05, sway=0.7 * _wave(beats, 4, 1), hips=0.12 * _wave(beats, 4, 0))
    score.bend = score.bend + _on_beat(beats, 0.09 * style.depth)
    score.lean = 0.12 + 0.12 * style.accent * _wave(beats, 1)
    score.twist = 0.3 * style.accent * _wave(beats, 4, 1)
    score.roll = -0.07 * _wave(beats, 4, 1)
    return score


def _turn(beats: Array, count: int, style: Style) -> Score:
    """A full turn in four steps, then side to side for four beats."""
    steps, yaw, hips = [], 0.0, 0.12
    for beat in range(1, count):
        foot = (LEFT, RIGHT)[beat % 2]
        side = 1.0 if foot == LEFT else -1.0
        yaw += np.pi / 2 if (beat - 1) % 8 < 4 else 0.0
        reach = hips + (0.1 * style.size if (beat - 1) % 8 >= 4 else 0.0)
        at = (side * reach * np.cos(yaw), -side * reach * np.sin(yaw))
        steps.append(Step(foot, beat - 0.65, beat, at, yaw))
    score = _score(beats, style, steps, 0.04)
    score.bend = score.bend + _on_beat(beats, 0.025 * style.depth)
    score.twist = 0.15 * style.accent * _wave(beats, 8, 1)
    return score


def _kick(beats: Array, count: int, style: Style) -> Score:
    """Kick forwards with one leg, then with the other."""
    steps = []
    for beat in range(1, count, 2):
        foot, side = (RIGHT, -1.0) if beat % 4 == 1 else (LEFT, 1.0)
        away = (side * 0.08, 0.6 + 0.15 * style.size)
        steps.append(Step(foot, beat - 0.65, beat, away, lift=0.06, height=0.4 * style.size, pitch=0.4))
        steps.append(Step(foot, beat + 0.1, beat + 0.95, (side * STANCE, 0.0), lift=0.06))
    score = _score(beats, style, steps, 0.03, hips=-0.1 * style.accent * _wave(beats, 4, 1))
    score.bend = score.bend + _on_beat(beats - 1, 0.06 * style.depth, 2)
    score.lean = -0.12 * style.accent * _on_beat(beats - 1, 1.0, 2) + 0.05
    return score


def _march(beats: Array, count: int, style: Style) -> Score:
    """Raise one knee per beat."""
    steps = []
    for beat in range(1, count):
        foot, side = ((LEFT, 1.0), (RIGHT, -1.0))[beat % 2]
        steps.append(Step(foot, beat - 0.5, beat, (side * 0.1, 0.16), lift=0.0, height=0.36 * style.size, pitch=0.5))
        steps.append(Step(foot, beat, beat + 0.5, (side * STANCE, 0.0), lift=0.0))
    score = _score(beats, style, steps, 0.025, twist=0.22 * style.accent * _wave(beats, 2, 0))
    score.bend = score.bend + _on_beat(beats - 0.5, 0.03 * style.depth)
    return score


def _jacks(beats: Array, count: int, style: Style) -> Score:
    """Jump, feet apart; jump, feet together."""
    steps = []
    for beat in range(1, count):
        wide = (0.3 * style.size) if beat % 2 else STANCE
        for foot, side in ((LEFT, 1.0), (RIGHT, -1.0)):
            steps.append(Step(foot, beat - 0.5, beat - 0.05, (side * wide, 0.0), lift=0.1))
    score = _score(beats, style, steps, 0.05)
    flight = np.clip(((beats - 0.5) % 1.0) / 0.45, 0, 1)
    score.bend = score.bend + _on_beat(beats - 0.08, 0.08 * style.depth) - 0.13 * np.sin(np.pi * flight) ** 2
    return score


def _box(beats: Array, count: int, style: Style) -> Score:
    """Forwards, side, close; backwards, side, close."""
    side, ahead = 0.3 * style.size, 0.32 * style.size
    goals = [(0.0, ahead), (-side, ahead), (-side, ahead), (-side, 0.0), (0.0, 0.0), (0.0, 0.0)]
    steps = []
    for beat in range(1, count):
        foot, (x, z) = (RIGHT, LEFT)[beat % 2], goals[(beat - 1) % 6]
        offset = STANCE if foot == LEFT else -STANCE
        steps.append(Step(foot, beat - 0.75, beat, (x + offset, z), lift=0.07))
    score = _score(beats, style, steps, 0.03, twist=0.12 * style.accent * _wave(beats, 6, 1))
    score.bend = score.bend + 0.035 * style.depth * _wave(beats, 3, 1)
    score.tilt = 0.06 * _wave(beats, 6, 2)
    return score


def _walk(beats: Array, count: int, style: Style) -> Score:
    """Four steps forwards, four backwards."""
    steps, stride, z = [], 0.42 * style.size, 0.0
    for beat in range(1, count):
        foot, side = ((LEFT, 1.0), (RIGHT, -1.0))[beat % 2]
        z += stride if (beat - 1) % 8 < 4 else -stride
        steps.append(Step(foot, beat - 0.75, beat, (side * 0.08, z)))
    score = _score(beats, style, steps, 0.03, hips=0.14 * style.accent * _wave(beats, 2, 1))
    score.twist = -0.3 * style.accent * _wave(beats, 2, 1)
    score.bend = score.bend + _on_beat(beats, 0.02 * style.depth)
    score.roll = 0.06 * _wave(beats, 2, 0.5)
    return score


def _twist(beats: Array, count: int, style: Style) -> Score:
    """Hips against shoulders, sinking and rising again."""
    steps = [Step(LEFT, -0.6, 0, (0.13, 0.0)), Step(RIGHT, -0.6, 0, (-0.13, 0.0))]
    swing = _wave(beats, 2, 1)
    score = _score(beats, style, steps, 0.06, hips=0.38 * style.accent * swing, twist=-0.75 * style.accent * swing)
    score.bend = score.bend + 0.07 * style.depth * (1 - _wave(beats, 8)) + _on_beat(beats, 0.03)
    score.lean = 0.1 + _zero(beats)
    score.sway = 0.3 * swing
    return score


def _sway(beats: Array, count: int, style: Style) -> Score:
    """Shift the weight from foot to foot while the upper body circles."""
    steps = [Step(LEFT, -0.6, 0, (0.2, 0.0)), Step(RIGHT, -0.6, 0, (-0.2, 0.0))]
    score = _score(beats, style, steps, 0.05, sway=1.1 * _wave(beats, 4, 1), roll=-0.12 * _wave(beats, 4, 1))
    score.bend = score.bend + _on_beat(beats - 1, 0.05 * style.depth, 2)
    score.tilt = -0.28 * style.accent * _wave(beats, 4, 1)
    score.twist = 0.25 * style.accent * _wave(beats, 4, 2)
    score.lean = 0.08 + 0.1 * _wave(beats, 4, 2)
    return score


def _grapevine(beats: Array, count: int, style: Style) -> Score:
    """Side, behind, side, touch; then back."""
    steps, width, x = [], 0.3 * style.size, 0.0
    for beat in range(1, count):
        place, side = (beat - 1) % 4, 1.0 if (beat - 1) % 8 < 4 else -1.0
        lead, other = (LEFT, RIGHT) if side > 0 else (RIGHT, LEFT)
        if place in (0, 2):
            x += side * width
            steps.append(Step(lead, beat - 0.65, beat, (x + side * STANCE, 0.0)))
        elif place == 1:
            steps.append(Step(other, beat - 0.65, beat, (x + side * 0.16, -0.16), side * 0.2))
        else:
            steps.append(Step(other, beat - 0.65, beat, (x - side * 0.6 * STANCE, 0.0), lift=0.08, load=0.15))
    score = _score(beats, style, steps, 0.035, hips=0.2 * style.accent * _wave(beats, 4, 2))
    score.twist = -0.3 * style.accent * _wave(beats, 4, 2)
    score.bend = score.bend + _on_beat(beats, 0.03 * style.depth)
    return score


MOVES: Mapping[str, Move] = MappingProxyType(
    {
        "side_step": Move(_side_step, "a dancer steps from side to side", "pop", ("swing", "clap", "pump")),
        "bounce": Move(_bounce, "a dancer bounces in the knees to the beat", "hip hop", ("pump", "cross", "hips")),
        "turn": Move(_turn, "a dancer spins to the left in a full turn", "salsa", ("circle", "swing", "open")),
        "kick": Move(_kick, "a dancer kicks one leg after the other", "charleston", ("swing", "open", "hips")),
        "march": Move(_march, "a dancer marches in place with high knees", "aerobics", ("pump", "swing")),
        "jacks": Move(_jacks, "a dancer jumps, feet apart and together", "aerobics", ("jacks",)),
        "box": Move(_box, "a dancer does a slow waltz box step", "waltz", ("circle", "open")),
        "walk": Move(_walk, "a dancer walks forward and back with swaying hips", "cha cha", ("swing", "hips", "wave")),
        "twist": Move(_twist, "a dancer twists the hips", "rock and roll", ("pump", "bent")),
        "sway": Move(_sway, "a dancer sways the whole body gently", "lyrical", ("wave", "overhead", "circle")),
        "grapevine": Move(_grapevine, "a dancer weaves a grapevine to the left", "disco", ("clap", "overhead")),
    }
)  # fmt: skip
"""Every move by name."""
