"""Which phrase plays when: a chain of phrases that go over into each other at compatible poses, on the song's beats.

The best hit begins. From then on every choice is of three things at once: the beat at which to leave the phrase that
plays, the phrase that follows, and the beat at which to enter it. What counts is how like the two moments are
(`retrieval.prior.transitions`), whether the counts of the bar go on, how much of its share of the time the next
phrase has had, how long a phrase plays on, and how well one will get away from the next one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.motion.skeleton import FPS
from retrieval.library.phrases import Phrase
from retrieval.prior.timing import ROUNDING, STEP_SECONDS, Clock, Match, beat_grid, match
from retrieval.prior.transitions import distances

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

MIN_BEATS: Final = 4
"""A phrase is not left before so many of its beats have passed, nor entered so near to its end."""
MIN_SECONDS: Final = 2.0
"""The same for a phrase without beats."""
PLAY_ON: Final = 0.025
"""What a second more of the same phrase is worth, in metres of distance between poses."""
SHARE: Final = 0.01
"""What each second costs that a phrase has had beyond its share, metres; one in debt gains as much."""
AGAIN: Final = 0.06
"""What it costs to play the same phrase twice in a row where there are others, metres."""
STALE: Final = 0.02
"""What it costs to enter where a phrase has been played once more often than in the mean of all its frames, metres."""
OFF_COUNT: Final = 0.03
"""What it costs to go over from one count of the bar to another one, metres."""
OFF_BEAT: Final = 0.1
"""What it costs to enter a phrase so that its beats are off the song's, metres."""
AHEAD: Final = 0.7
"""How far the best way out of the next phrase counts."""


@dataclass(frozen=True)
class Segment:
    """One phrase on the timeline.

    Attributes:
        choice: which of the phrases.
        first: its first frame on the timeline.
        times: (n,) seconds within the phrase at the timeline's frames first, first + 1, ...
        step: seconds within the phrase from the frame before the first one to it, as if it had played on.
    """

    choice: int
    first: int
    times: Array
    step: float


@dataclass(frozen=True)
class _Doors:
    """Where phrases may be entered, those of all phrases in one row; the beginning of each is one of them.

    Attributes:
        choice: (D,) which phrase.
        time: (D,) seconds within it.
        beat: (D,) which of its beats that is, -1 for none.
        begin: (D,) whether it is the beginning as such, which need not be on a beat.
    """

    choice: NDArray[np.int64]
    time: Array
    beat: NDArray[np.int64]
    begin: Bools

    @classmethod
    def of(cls, matches: Sequence[Match]) -> "_Doors":
        parts = [_Doors._of_one(number, it) for number, it in enumerate(matches)]
        names = ("choice", "time", "beat", "begin")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @classmethod
    def _of_one(cls, number: int, it: Match) -> "_Doors":
        beats = np.arange(max(len(it.own) - MIN_BEATS, min(len(it.own), 1)))
        steps = np.arange(0, 0 if len(it.own) else max(it.end - MIN_SECONDS, 0), STEP_SECONDS)[1:]
        time = np.concatenate([[0.0], it.own[beats], steps])
        beat = np.full(len(time), -1)
        beat[1 : 1 + len(beats)] = beats
        return cls(np.full(len(time), number), time, beat, np.arange(len(time)) == 0)


@dataclass(frozen=True)
class _Way:
    """What comes next: leave at knot `exit` of the clock that runs, go on with `choice` at `entry` seconds."""

    exit: int
    choice: int
    entry: float


def chain(
    phrases: Sequence[Phrase], moments: Sequence[Array], num_frames: int, beats: ArrayLike, fps: float
) -> list[Segment]:
    """Fill frames 0..num_frames - 1 with phrases, the first one first and most.

    Args:
        phrases: at least one, each of at least two frames, best first.
        moments: of each phrase, from `retrieval.prior.transitions.poses`.
        beats: of the song, in seconds from the timeline's start; may be empty.
    """
    seconds = num_frames / fps
    chainer = _Chainer([match(phrase, grid) for grid in [beat_grid(beats, seconds)] for phrase in phrases], moments)
    segments: list[Segment] = []
    choice, entry, now, frame = 0, chainer.first_entry(), 0.0, 0
    while frame < num_frames:
        clock = chainer.matches[choice].clock(now, entry)
        way = chainer.next_way(choice, clock, seconds)
        now = float(clock.song[way.exit])
        last = min(num_frames, max(frame + 1, int(np.ceil(now * fps - 1e-6))))
        times = np.interp(np.arange(frame, last) / fps, clock.song, clock.phrase)
        rate = (clock.phrase[1] - clock.phrase[0]) / (clock.song[1] - clock.song[0])
        segments.append(Segment(choice, frame, times, rate / fps))
        frame, choice, entry = last, way.choice, way.entry
    return segments


class _Chainer:
    def __init__(self, matches: Sequence[Match], moments: Sequence[Array]) -> None:
        self.matches = matches
        self._doors = _Doors.of(matches)
        self._rates = np.array([it.rate for it in matches])
        # Counts go in fours, or in threes where the phrase is of so many beats.
        self._meters = np.array([3 if len(it.own) > 1 and (len(it.own) - 1) % 3 == 0 else 4 for it in matches])
        shares = 1 / np.arange(1, len(matches) + 1)
        self._shares = shares / shares.sum()
        self._seconds = np.zeros(len(matches))
        self._lengths = np.array([len(m) for m in moments])
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._moments = np.concatenate(moments).astype(np.float32)
        self._times_played = np.zeros(len(self._moments))
        self._distances: dict[int, NDArray[np.float32]] = {}
        self._onward = self._ways_out()

    def first_entry(self) -> float:
        """Where the first phrase is entered: as early as it is on the song's beats."""
        times, off = self._entries(np.zeros(1))
        usable = (self._doors.choice == 0) & np.isfinite(times[0])
        on = usable & ~off[0]
        return float(times[0][on if on.any() else usable].min())

    def next_way(self, choice: int, clock: Clock, seconds: float) -> _Way:
        """The best way on from a phrase; counts as played what is played until then."""
        if clock.song[-1] >= seconds - 1e-6:
            # It lasts to the end of the timeline: no seam is better than any.
            return _Way(len(clock.song) - 1, choice, 0.0)
        exits = self._exits(clock)
        cost, times = self._costs(choice, clock.beat[exits], clock.song[exits], clock.phrase[exits])
        exit_, door = np.unravel_index(int(np.argmin(cost)), cost.shape)
        at = int(exits[exit_])
        self._seconds[choice] += clock.song[at] - clock.song[0]
        first, last = self._starts[choice] + self._frames(choice, clock.phrase[[0, at]])
        self._times_played[first : last + 1] += 1
        return _Way(at, int(self._doors.choice[door]), float(times[exit_, door]))

    def _costs(self, choice: int, beats: NDArray[np.int64], now: Array, left: Array) -> tuple[Array, Array]:
        """Cost (X, D) of leaving a phrase at X moments for each door, and the times (X, D) behind the doors.

        Args:
            choice: the phrase that plays.
            beats, now, left: beat of it, seconds on the timeline and seconds within it (X,) where it may be left.
        """
        doors = self._doors
        times, off = self._entries(now)
        usable = np.isfinite(times)
        rows = self._starts[doors.choice] + self._frames(doors.choice, np.where(usable, times, 0))
        cost = np.take_along_axis(self._distances_from(choice, left), rows, axis=1) + AHEAD * self._onward[rows]
        cost = cost + OFF_BEAT * off - PLAY_ON * now[:, None]
        counted = (beats >= 0)[:, None] & (doors.beat >= 0)
        cost += OFF_COUNT * (counted & ((beats[:, None] - doors.beat) % self._meters[doors.choice] != 0))
        surplus = self._seconds - self._shares * self._seconds.sum()
        itself = doors.choice == choice
        cost += SHARE * surplus[doors.choice] + AGAIN * (itself & (len(self.matches) > 1))
        cost += STALE * self._staleness()[rows]
        # To go on is no seam, and to jump back by a beat or two is to stutter.
        usable &= ~itself | doors.begin | (times <= left[:, None] - self._shortest(choice))
        return np.where(usable, cost, np.inf), times

    def _staleness(self) -> Array:
        """How much more often (all frames,) what comes after a frame was played than the phrase is on the mean."""
        total = np.append(0, np.cumsum(self._times_played))
        here = np.arange(len(self._times_played))
        ends = np.repeat(self._starts + self._lengths, self._lengths)
        until = np.minimum(here + round(MIN_SECONDS * FPS), ends)
        mean = np.add.reduceat(self._times_played, self._starts) / self._lengths
        return (total[until] - total[here]) / (until - here) - np.repeat(mean, self._lengths)

    def _entries(self, now: Array) -> tuple[Array, Bools]:
        """Seconds (X, D) within each phrase at which a door opens at times now (X,), NaN where it does not.

        Of a phrase with beats, its beat comes when the song's next beat does. Also whether (X, D) the phrase would be
        off the song's beats.
        """
        doors = self._doors
        leads = np.stack([it.leads(now) if len(it.own) else np.zeros(len(now)) for it in self.matches], axis=1)
        ahead = (leads * self._rates)[:, doors.choice]
        times = np.where(doors.begin, 0, doors.time - ahead)
        firsts = np.array([it.own[0] if len(it.own) else 0.0 for it in self.matches])[doors.choice]
        off = doors.begin & (np.abs(firsts - ahead) > ROUNDING)
        return np.where(times >= -ROUNDING, np.maximum(times, 0), np.nan), off

    def _exits(self, clock: Clock) -> NDArray[np.int64]:
        """Knots of a clock at which the phrase may be left, its end always among them."""
        beats = np.flatnonzero(clock.beat >= 0)
        if len(beats):
            usable = beats[clock.beat[beats] - clock.beat[beats[0]] >= MIN_BEATS]
        else:
            usable = np.flatnonzero(clock.phrase - clock.phrase[0] >= MIN_SECONDS)
        return np.union1d(usable, [len(clock.song) - 1])

    def _shortest(self, choice: int) -> float:
        own = self.matches[choice].own
        return MIN_BEATS * float(np.median(np.diff(own))) - ROUNDING if len(own) else MIN_SECONDS

    def _distances_from(self, choice: int, left: Array) -> NDArray[np.float32]:
        """Distances (X, all frames) from moments of a phrase, seconds within it (X,)."""
        if choice not in self._distances:
            own = slice(self._starts[choice], self._starts[choice] + self._lengths[choice])
            self._distances[choice] = distances(self._moments[own], self._moments)
        return self._distances[choice][self._frames(choice, left)]

    def _ways_out(self) -> Array:
        """Of all frames of all phrases, how good the best way to leave the phrase after that is, metres."""
        doors = self._doors
        targets = self._starts[doors.choice] + self._frames(doors.choice, doors.time)
        out = []
        for i, it in enumerate(self.matches):
            steps = np.arange(min(MIN_SECONDS, it.end), it.end, STEP_SECONDS)
            exits = np.append(it.own[MIN_BEATS:] if len(it.own) else steps, it.end)
            cost = self._distances_from(i, exits)[:, targets]
            stutter = (doors.choice == i) & ~doors.begin & (doors.time > exits[:, None] - self._shortest(i))
            best = np.where(stutter, np.inf, cost).min(1)
            times = np.arange(self._lengths[i]) / FPS
            later = exits >= times[:, None] + self._shortest(i)
            later[:, -1] = True
            out.append(np.where(later, best - PLAY_ON * (exits - times[:, None]), np.inf).min(1))
        return np.concatenate(out)

    def _frames(self, choice: int | NDArray[np.int64], times: Array) -> NDArray[np.int64]:
        return np.clip(np.rint(times * FPS).astype(np.int64), 0, self._lengths[choice] - 1)
