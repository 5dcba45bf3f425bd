"""Chaining phrases on the beats of a song: which phrase plays when, with transitions at similar poses.

The best hit plays first. From then on each transition is chosen among all combinations of the beat at which the
current phrase is left, the next phrase, and the beat at which that is entered. The cost, in metres, is the distance of
the two poses (`retrieval.prior.transitions`), plus terms for the count within the bar, for how much of its share of the
time the next phrase has had, for how long the current phrase plays, and for the best transition out of the next phrase.
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
"""Number of its beats that a phrase plays before it is left, and that remain after it is entered."""
MIN_SECONDS: Final = 2.0
"""The same for a phrase without beats."""
PLAY_ON_GAIN: Final = 0.025
"""Gain for each second that a phrase plays on, metres."""
SHARE_COST: Final = 0.01
"""Cost per second that a phrase has had beyond its share of the time, metres; a gain for each second below it."""
REPEAT_COST: Final = 0.06
"""Cost of playing the same phrase twice in a row if there are others, metres."""
STALE_COST: Final = 0.02
"""Cost of entering where a phrase has been played once more often than on average over its frames, metres."""
OFF_COUNT_COST: Final = 0.03
"""Cost of a transition between different counts of the bar, metres."""
OFF_BEAT_COST: Final = 0.1
"""Cost of entering a phrase so that its beats are off the song's, metres."""
LOOKAHEAD: Final = 0.7
"""Weight of the best transition out of the next phrase."""


@dataclass(frozen=True)
class Segment:
    """One phrase on the timeline.

    Attributes:
        choice: number of the phrase.
        first: its first frame on the timeline.
        times: (n,) seconds within the phrase at the timeline's frames first, first + 1, ...
        step: seconds within the phrase by which the frame before the first one would precede it.
    """

    choice: int
    first: int
    times: Array
    step: float


@dataclass(frozen=True)
class _Entries:
    """Where phrases may be entered: E points of all phrases, including the beginning of each.

    Attributes:
        choice: (E,) number of the phrase.
        time: (E,) seconds within it.
        beat: (E,) number of the phrase's beat there, -1 for none.
        begin: (E,) whether it is the beginning of the phrase, which need not be on a beat.
    """

    choice: NDArray[np.int64]
    time: Array
    beat: NDArray[np.int64]
    begin: Bools

    @classmethod
    def of(cls, matches: Sequence[Match]) -> "_Entries":
        columns: list[tuple[NDArray[np.int64], Array, NDArray[np.int64], Bools]] = []
        for number, it in enumerate(matches):
            beats = np.arange(max(len(it.own) - MIN_BEATS, min(len(it.own), 1)))
            steps = np.arange(0, 0 if len(it.own) else max(it.end - MIN_SECONDS, 0), STEP_SECONDS)[1:]
            time = np.concatenate([[0.0], it.own[beats], steps])
            beat = np.full(len(time), -1)
            beat[1 : 1 + len(beats)] = beats
            columns.append((np.full(len(time), number), time, beat, np.arange(len(time)) == 0))
        return cls(*(np.concatenate(column) for column in zip(*columns, strict=True)))


@dataclass(frozen=True)
class _Transition:
    """Leave the current phrase at knot `exit` of its clock, and enter phrase `choice` at `entry` seconds."""

    exit: int
    choice: int
    entry: float


def chain(
    phrases: Sequence[Phrase], poses: Sequence[Array], num_frames: int, beats: ArrayLike, fps: float
) -> list[Segment]:
    """Fill frames 0 to num_frames - 1 with phrases, the first one first and most.

    Args:
        phrases: at least one, each of at least two frames, best first.
        poses: of each phrase, from `retrieval.prior.transitions.pose_vectors`.
        num_frames: length of the timeline.
        beats: of the song, in seconds from the timeline's start; may be empty.
        fps: frame rate of the timeline.
    """
    seconds = num_frames / fps
    grid = beat_grid(beats, seconds)
    chainer = _Chainer([match(phrase, grid) for phrase in phrases], poses)
    segments: list[Segment] = []
    choice, entry, now, frame = 0, chainer.first_entry(), 0.0, 0
    while frame < num_frames:
        clock = chainer.matches[choice].clock(now, entry)
        chosen = chainer.next_transition(choice, clock, seconds)
        now = float(clock.song[chosen.exit])
        last = min(num_frames, max(frame + 1, int(np.ceil(now * fps - 1e-6))))
        times = np.interp(np.arange(frame, last) / fps, clock.song, clock.phrase)
        rate = (clock.phrase[1] - clock.phrase[0]) / (clock.song[1] - clock.song[0])
        segments.append(Segment(choice, frame, times, rate / fps))
        frame, choice, entry = last, chosen.choice, chosen.entry
    return segments


class _Chainer:
    """Chooses transitions, and keeps account of what has been played.

    Frames are numbered over all phrases, one after the other.
    """

    def __init__(self, matches: Sequence[Match], poses: Sequence[Array]) -> None:
        self.matches = matches
        self._entries = _Entries.of(matches)
        self._rates = np.array([it.rate for it in matches])
        # Bars have four counts, or three if the number of beats says so.
        self._meters = np.array([3 if len(it.own) > 1 and (len(it.own) - 1) % 3 == 0 else 4 for it in matches])
        shares = 1 / np.arange(1, len(matches) + 1)
        self._shares = shares / shares.sum()
        self._seconds = np.zeros(len(matches))
        self._lengths = np.array([len(p) for p in poses])
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._poses = np.concatenate(poses).astype(np.float32)
        self._times_played = np.zeros(len(self._poses))
        self._distances: dict[int, NDArray[np.float32]] = {}
        self._exit_costs = self._best_exits()

    def first_entry(self) -> float:
        """Seconds within the first phrase at which it starts: as early as it is on the song's beats."""
        times, off = self._entry_times(np.zeros(1))
        usable = (self._entries.choice == 0) & np.isfinite(times[0])
        on = usable & ~off[0]
        return float(times[0][on if on.any() else usable].min())

    def next_transition(self, choice: int, clock: Clock, seconds: float) -> _Transition:
        """The cheapest transition out of a phrase; what it plays until then is recorded."""
        if clock.song[-1] >= seconds - 1e-6:
            # The phrase lasts to the end of the timeline: no transition is better than any.
            return _Transition(len(clock.song) - 1, choice, 0.0)
        exits = self._exits(clock)
        cost, times = self._costs(choice, clock.beat[exits], clock.song[exits], clock.phrase[exits])
        row, entry = np.unravel_index(int(np.argmin(cost)), cost.shape)
        at = int(exits[row])
        self._seconds[choice] += clock.song[at] - clock.song[0]
        first, last = self._starts[choice] + self._frames(choice, clock.phrase[[0, at]])
        self._times_played[first : last + 1] += 1
        return _Transition(at, int(self._entries.choice[entry]), float(times[row, entry]))

    def _costs(self, choice: int, beats: NDArray[np.int64], now: Array, left: Array) -> tuple[Array, Array]:
        """Costs (X, E) of leaving a phrase at X points for each entry, and the entries' times (X, E).

        Args:
            choice: the phrase that plays.
            beats, now, left: (X,) beat of the phrase, seconds on the timeline and seconds within the phrase.
        """
        entries = self._entries
        times, off = self._entry_times(now)
        usable = np.isfinite(times)
        frames = self._starts[entries.choice] + self._frames(entries.choice, np.where(usable, times, 0))
        cost = np.take_along_axis(self._distances_from(choice, left), frames, axis=1)
        cost = cost + LOOKAHEAD * self._exit_costs[frames]
        cost = cost + OFF_BEAT_COST * off - PLAY_ON_GAIN * now[:, None]
        counted = (beats >= 0)[:, None] & (entries.beat >= 0)
        cost += OFF_COUNT_COST * (counted & ((beats[:, None] - entries.beat) % self._meters[entries.choice] != 0))
        surplus = self._seconds - self._shares * self._seconds.sum()
        same = entries.choice == choice
        cost += SHARE_COST * surplus[entries.choice] + REPEAT_COST * (same & (len(self.matches) > 1))
        cost += STALE_COST * self._staleness()[frames]
        # Going on is no transition, and jumping back by a beat or two is stuttering.
        usable &= ~same | entries.begin | (times <= left[:, None] - self._min_seconds(choice))
        return np.where(usable, cost, np.inf), times

    def _staleness(self) -> Array:
        """How much more often the seconds after each frame were played than the phrase on average (all frames,)."""
        total = np.append(0, np.cumsum(self._times_played))
        here = np.arange(len(self._times_played))
        ends = np.repeat(self._starts + self._lengths, self._lengths)
        until = np.minimum(here + round(MIN_SECONDS * FPS), ends)
        mean = np.add.reduceat(self._times_played, self._starts) / self._lengths
        return (total[until] - total[here]) / (until - here) - np.repeat(mean, self._lengths)

    def _entry_times(self, now: Array) -> tuple[Array, Bools]:
        """Seconds (X, E) within the phrases at which they are entered at times now (X,); NaN: not possible.

        The beat of a phrase coincides with the song's next beat. Also whether (X, E) the phrase would be off the beat.
        """
        entries = self._entries
        until = [it.until_beat(now) if len(it.own) else np.zeros(len(now)) for it in self.matches]
        ahead = (np.stack(until, axis=1) * self._rates)[:, entries.choice]
        times = np.where(entries.begin, 0, entries.time - ahead)
        first_beats = np.array([it.own[0] if len(it.own) else 0.0 for it in self.matches])[entries.choice]
        off = entries.begin & (np.abs(first_beats - ahead) > ROUNDING)
        return np.where(times >= -ROUNDING, np.maximum(times, 0), np.nan), off

    def _exits(self, clock: Clock) -> NDArray[np.int64]:
        """Knots of a clock at which the phrase may be left, always including its end."""
        beats = np.flatnonzero(clock.beat >= 0)
        if len(beats):
            usable = beats[clock.beat[beats] - clock.beat[beats[0]] >= MIN_BEATS]
        else:
            usable = np.flatnonzero(clock.phrase - clock.phrase[0] >= MIN_SECONDS)
        return np.union1d(usable, [len(clock.song) - 1])

    def _min_seconds(self, choice: int) -> float:
        """Minimum time for which a phrase plays."""
        own = self.matches[choice].own
        return MIN_BEATS * float(np.median(np.diff(own))) - ROUNDING if len(own) else MIN_SECONDS

    def _distances_from(self, choice: int, left: Array) -> NDArray[np.float32]:
        """Pose distances (X, all frames) from points of a phrase, seconds within it (X,)."""
        if choice not in self._distances:
            own = slice(self._starts[choice], self._starts[choice] + self._lengths[choice])
            self._distances[choice] = distances(self._poses[own], self._poses)
        return self._distances[choice][self._frames(choice, left)]

    def _best_exits(self) -> Array:
        """Cost (all frames,) of the best transition out of the phrase after each frame, metres."""
        entries = self._entries
        targets = self._starts[entries.choice] + self._frames(entries.choice, entries.time)
        out = []
        for i, it in enumerate(self.matches):
            steps = np.arange(min(MIN_SECONDS, it.end), it.end, STEP_SECONDS)
            exits = np.append(it.own[MIN_BEATS:] if len(it.own) else steps, it.end)
            cost = self._distances_from(i, exits)[:, targets]
            stutter = (entries.choice == i) & ~entries.begin & (entries.time > exits[:, None] - self._min_seconds(i))
            best = np.where(stutter, np.inf, cost).min(1)
            times = np.arange(self._lengths[i]) / FPS
            later = exits >= times[:, None] + self._min_seconds(i)
            later[:, -1] = True
            out.append(np.where(later, best - PLAY_ON_GAIN * (exits - times[:, None]), np.inf).min(1))
        return np.concatenate(out)

    def _frames(self, choice: int | NDArray[np.int64], times: Array) -> NDArray[np.int64]:
        return np.clip(np.rint(times * FPS).astype(np.int64), 0, self._lengths[choice] - 1)
