"""Beat pairing: real motion whose kinematic beats are warped onto the beats of a song.

Recorded pairs of dance and music are few and seldom synchronous to a frame. Here any motion is paired with any song: a
piecewise-linear time warp, nowhere stronger than `MAX_WARP`, puts as many of its kinematic beats on beats of the song
as possible (dynamic programming).
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
from choreo.motion.retarget import refit
from choreo.motion.skeleton import FPS
from choreo.music.beats import beat_phase_channels

MAX_WARP: Final = 0.15
"""Motion is played at 1 - MAX_WARP to 1 + MAX_WARP of its own speed."""
MAX_GAP: Final = 5
"""Largest distance of two consecutive matches, in kinematic beats and in beats of the song."""
MISS_COST: Final = 0.4
"""Cost of a beat of the song without a kinematic beat, in matches."""
MAX_PIECE_SECONDS: Final = 36.0
"""Longer clips are paired in pieces."""
MIN_SECONDS: Final = 4.0
"""Shorter pairs are dropped."""
MAX_CANDIDATES: Final = 6
"""Songs that compete for a piece of motion."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Match:
    """Kinematic beats `own` (n,) that are put on song times `song` (n,), both in seconds, and the score of this."""

    own: Array
    song: Array
    score: float


def match_beats(own: Array, grid: Array) -> Match | None:
    """The best assignment of kinematic beats (N,) to beats of a song (M,), seconds; None if no two can be matched.

    Maximises the number of matches minus `MISS_COST` times the number of beats in between without one, over all
    monotone assignments that change the speed by at most `MAX_WARP`.
    """
    n, m = len(own), len(grid)
    if n < 2 or m < 2:
        return None
    best, back = np.ones((n, m)), np.full((n, m, 2), -1)
    for i in range(1, n):
        for j in range(max(0, i - MAX_GAP), i):
            span = own[i] - own[j]
            for skip in range(1, min(MAX_GAP, m - 1) + 1):
                stretch = (grid[skip:] - grid[:-skip]) / span
                fits = (stretch >= 1 / (1 + MAX_WARP)) & (stretch <= 1 / (1 - MAX_WARP))
                score = np.where(fits, best[j, : m - skip] + 1 - MISS_COST * (skip - 1), -np.inf)
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
    """The clip warped to the song, with the song's features and beats; it may become a little shorter.

    Before the first match and after the last one the motion keeps its own speed.
    """
    first, last = _window(clip, song, match)
    frames = np.arange(first, last + 1)
    times = _own_time(match, frames / FPS)
    positions = clip.positions()
    smooth = CubicSpline(np.arange(len(positions)) / FPS, positions)(times)
    features, heading = motion_features(refit(smooth), clip.representation)
    # No frame comes before the first, so it takes the velocity of the second.
    unknown = clip.representation.unknown_in_a_lone_pose
    features[0, unknown] = features[1, unknown]
    start = first / FPS
    rhythm = beat_phase_channels(
        song.beats - start, song.onset[first:], len(features), FPS, downbeats=song.downbeats - start
    )
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
    """Each piece of each clip with the best of a few songs, `per_piece` times; deterministic.

    Other songs compete each time, so that a motion is not always paired with the same one.
    """
    rng = np.random.default_rng(seed)
    out = []
    for clip in clips:
        for piece in pieces(clip):
            own = kinematic_beats(piece.positions()) / FPS
            for candidates in np.array_split(rng.permutation(len(songs)), max(1, per_piece)):
                matches = [(match_beats(own, songs[i].beats), songs[i]) for i in candidates[:MAX_CANDIDATES]]
                found = [(match, song) for match, song in matches if match is not None]
                if not found:
                    continue
                match, song = max(found, key=lambda pair_: _density(*pair_))
                paired = pair(piece, song, match)
                if paired.num_frames >= MIN_SECONDS * FPS:
                    out.append(paired)
    return out


def _density(match: Match, song: BeatSong) -> float:
    """Score per beat of the song in the matched span, so that slow songs do not win by having few beats to miss."""
    passed = np.searchsorted(song.beats, match.song[-1]) - np.searchsorted(song.beats, match.song[0]) + 1
    return match.score / max(float(passed), 4.0)


def pieces(clip: Clip, seconds: float = MAX_PIECE_SECONDS) -> list[Clip]:
    """The clip in pieces of equal length, none longer than `seconds`."""
    count = max(1, int(np.ceil(clip.num_frames / (seconds * FPS))))
    edges = np.linspace(0, clip.num_frames, count + 1).astype(int)
    return [clip.part(int(a), int(b)) for a, b in pairwise(edges)]


def _own_time(match: Match, song_time: Array) -> Array:
    """Times of the original motion (seconds) at times of the song."""
    inside = np.interp(song_time, match.song, match.own)
    early, late = song_time < match.song[0], song_time > match.song[-1]
    inside[early] = match.own[0] + song_time[early] - match.song[0]
    inside[late] = match.own[-1] + song_time[late] - match.song[-1]
    return inside


def _window(clip: Clip, song: BeatSong, match: Match) -> tuple[int, int]:
    """First and last frame of the song at which both it and the motion exist."""
    end = (clip.num_frames - 1) / FPS
    first = max(0.0, match.song[0] - match.own[0])
    last = min((song.num_frames - 1) / FPS, match.song[-1] + end - match.own[-1])
    return int(np.ceil(first * FPS - 1e-9)), int(np.floor(last * FPS + 1e-9))
