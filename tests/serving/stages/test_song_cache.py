"""Songs that were encoded: bounded by bytes, and encoded once for equal requests at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.music.encoded import precomputed
from serving.stages.music_query import music_query
from serving.stages.song_cache import EncodedSong, SongCache, SongKey, size_of

FRAMES = 100
THREADS = 4


def key(number: int) -> SongKey:
    return "dsp35", bytes([number])


def encoded(value: float = 0.0, frames: int = FRAMES) -> EncodedSong:
    """A song without beats whose first column holds the value."""
    columns = np.zeros((frames, 35), np.float32)
    columns[:, 0] = value
    song = precomputed(columns)
    return song, music_query(song)


def test_songs_are_kept_within_the_bound_the_least_recently_used_goes() -> None:
    cache = SongCache(2 * size_of(encoded()) + 10)
    asked: list[int] = []

    def get(number: int) -> float:
        def encode() -> EncodedSong:
            asked.append(number)
            return encoded(number)

        return float(cache.get(key(number), encode)[0].features[0, 0])

    assert [get(n) for n in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert asked == [1, 2, 3, 2]
    assert (cache.hits, cache.misses) == (2, 4)
    assert cache.held_bytes == 2 * size_of(encoded())
    cache.get(key(9), lambda: encoded(9, frames=3 * FRAMES))  # larger than everything, so not kept
    assert [get(n) for n in (1, 2)] == [1, 2]
    assert asked == [1, 2, 3, 2]


def test_a_song_counts_as_all_its_arrays() -> None:
    song, _ = encoded()
    assert size_of(encoded()) >= song.features.nbytes + song.onset.nbytes + song.beats.nbytes > FRAMES * 36 * 4 - 1


def test_equal_songs_at_the_same_time_are_encoded_once() -> None:
    cache, begun, may_end = SongCache(1 << 20), threading.Event(), threading.Event()
    asked: list[int] = []

    def encode() -> EncodedSong:
        asked.append(1)
        begun.set()
        assert may_end.wait(60)
        return encoded(len(asked))

    with ThreadPoolExecutor(THREADS + 1) as pool:
        first = pool.submit(cache.get, key(1), encode)
        assert begun.wait(60)
        waiting = threading.Barrier(THREADS)

        def follow() -> EncodedSong:
            waiting.wait(60)
            return cache.get(key(1), encode)

        others = [pool.submit(follow) for _ in range(THREADS - 1)]
        waiting.wait(60)
        other_song = cache.get(key(2), lambda: encoded(7))  # does not wait for the first
        may_end.set()
        songs = [first.result(60), *(other.result(60) for other in others)]
    assert other_song[0].features[0, 0] == 7
    assert asked == [1]
    assert all(song is songs[0] for song in songs)


def test_an_error_reaches_everybody_who_waits_and_is_not_kept() -> None:
    cache, begun, may_end = SongCache(1 << 20), threading.Event(), threading.Event()

    def fail() -> EncodedSong:
        begun.set()
        assert may_end.wait(60)
        raise InvalidInput("audio", "the audio is corrupt")

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(cache.get, key(1), fail)
        assert begun.wait(60)
        follower = pool.submit(cache.get, key(1), fail)
        may_end.set()
        for waiting in (leader, follower):
            with pytest.raises(InvalidInput, match="corrupt"):
                waiting.result(60)
    assert cache.get(key(1), lambda: encoded(3))[0].features[0, 0] == 3
