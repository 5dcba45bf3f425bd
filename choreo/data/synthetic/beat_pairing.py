"""Beat pairing: real motion whose kinematic beats are warped onto the beats of a song, so that both agree in time.

Recorded pairs of dance and music are few, and seldom synchronous to a frame. Here any motion is paired with any song:
a piecewise-linear change of its time, nowhere by more than `MAX_WARP`, brings as many of its kinematic beats onto
beats of the song as dynamic programming can.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from choreo.data.clip import Clip, motion_features
from choreo.data.synthetic.songs import BeatSong
from choreo.motion.kinematic_beats import kinematic_beats
from choreo.motion.representation import decode
from choreo.motion.retarget import refit
from choreo.motion.skeleton import FPS
from choreo.music.beats import beat_phase_channels

MAX_WARP: Final = 0.15
"""Motion plays at 1 - MAX_WARP to 1 + MAX_WARP of its own speed."""
REACH: Final = 5
"""A match may be so many kinematic beats, or beats of the song, after the one before it."""
MISS: Final = 0.4
"""What a beat of the song without a kinematic beat costs, in matches."""
PIECE_SECONDS: Final = 36.0
"""Longer clips are paired in pieces."""
MIN_SECONDS: Final = 4.0
HANDFUL: Final = 6
"""Songs that compete for a piece of motion."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Match:
    """Kinematic beats `own` (n,) that fall on song times `song` (n,), seconds both; `score` is matches less misses."""

    own: Array
    song: Array
    score: float


def match_beats(own: Array, grid: Array) -> Match | None:
    """The best assignment of kinematic beats (N,) to beats of a song (M,), seconds; None where no two can be joined.

    Maximises matches less `MISS` times the song's beats that pass without one, over all monotone assignments whose
    changes of speed stay within `MAX_WARP`.
    """
    n, m = len(own), len(grid)
    if n < 2 or m < 2:
        return None
    best, back = np.ones((n, m)), np.full((n, m, 2), -1)
    for i in range(1, n):
        for j in range(max(0, i - REACH), i):
            span = own[i] - own[j]
            for skip in range(1, min(REACH, m - 1) + 1):
                stretch = (grid[skip:] - grid[:-skip]) / span
                fits = (stretch >= 1 / (1 + MAX_WARP)) & (stretch <= 1 / (1 - MAX_WARP))
                score = np.where(fits, best[j, : m - skip] + 1 - MISS * (skip - 1), -np.inf)
                ends = np.flatnonzero(score > best[i, skip:]) + skip
                best[i, ends] = score[ends - skip]
                back[i, ends] = np.stack([np.full(len(ends), j), ends - skip], axis=1)
    at = np.unravel_index(int(np.argmax(best)), best.shape)
    path = [at]
    while back[path[-1]][0] >= 0:
        path.append(tuple(back[path[-1]]))
    if len(path) < 2:
        return None
    rows, columns = np.array(path[::-1]).T
    return Match(own[rows], grid[columns], float(best[at]))


def pair(clip: Clip, song: BeatSong, match: Match) -> Clip:
    """The clip played in the time of the song, with the song's features and beats; it may come out a little shorter.

    Before the first match and after the last one the motion keeps its own speed.
    """
    first, last = _window(clip, song, match)
    frames = np.arange(first, last + 1)
    times = _own_time(match, frames / FPS)
    positions = decode(clip.features)
    smooth = CubicSpline(np.arange(len(positions)) / FPS, positions)(times)
    features, heading = motion_features(refit(smooth))
    # The spline's end frames have no velocity of their own at frame 0: it is that of the step that follows.
    features[0, :2] = features[1, :2]
    rhythm = beat_phase_channels(song.beats - first / FPS, song.onset[first:], len(features))
    rate = len(features) / max(times[-1] - times[0], 1e-6) / FPS
    captions = tuple(
        replace(
            c, start=round((c.start / FPS - times[0]) * FPS * rate), end=round((c.end / FPS - times[0]) * FPS * rate)
        )
        for c in clip.captions
    )
    return replace(
        clip,
        key=f"{clip.key}+{song.name}",
        features=features,
        heading=heading,
        music=song.features[first : last + 1],
        rhythm=rhythm,
        captions=captions,
    )


def paired_clips(clips: Sequence[Clip], songs: Sequence[BeatSong], per_piece: int, seed: int = 0) -> list[Clip]:
    """Each piece of each clip with the best of a few songs, `per_piece` times over; deterministic.

    Every time another handful of songs competes, so that a motion is not always heard with the same one.
    """
    rng = np.random.default_rng(seed)
    out = []
    for clip in clips:
        for piece in pieces(clip):
            own = kinematic_beats(decode(piece.features)) / FPS
            for handful in np.array_split(rng.permutation(len(songs)), max(1, per_piece)):
                matches = [(match_beats(own, songs[i].beats), songs[i]) for i in handful[:HANDFUL]]
                found = [(match, song) for match, song in matches if match is not None]
                if not found:
                    continue
                match, song = max(found, key=lambda pair_: _density(*pair_))
                paired = pair(piece, song, match)
                if paired.num_frames >= MIN_SECONDS * FPS:
                    out.append(paired)
    return out


def _density(match: Match, song: BeatSong) -> float:
    """Matches per beat of the song in their span: slow songs must not win by having few beats to miss."""
    passed = np.searchsorted(song.beats, match.song[-1]) - np.searchsorted(song.beats, match.song[0]) + 1
    return match.score / max(float(passed), 4.0)


def pieces(clip: Clip, seconds: float = PIECE_SECONDS) -> list[Clip]:
    """The clip in stretches of equal length, none longer than `seconds`."""
    count = max(1, int(np.ceil(clip.num_frames / (seconds * FPS))))
    edges = np.linspace(0, clip.num_frames, count + 1).astype(int)
    return [clip.part(int(a), int(b)) for a, b in pairwise(edges)]


def _own_time(match: Match, song_time: Array) -> Array:
    """Seconds of the motion's own time at times of the song."""
    inside = np.interp(song_time, match.song, match.own)
    early, late = song_time < match.song[0], song_time > match.song[-1]
    inside[early] = match.own[0] + song_time[early] - match.song[0]
    inside[late] = match.own[-1] + song_time[late] - match.song[-1]
    return inside


def _window(clip: Clip, song: BeatSong, match: Match) -> tuple[int, int]:
    """First and last frame of the song at which both it and the motion are there."""
    end = (clip.num_frames - 1) / FPS
    first = max(0.0, match.song[0] - match.own[0])
    last = min((song.num_frames - 1) / FPS, match.song[-1] + end - match.own[-1])
    return int(np.ceil(first * FPS - 1e-9)), int(np.floor(last * FPS + 1e-9))
