"""What of a song the phrase library is searched by."""

from choreo.music.encoded import MusicFeatures
from choreo.music.features import DSP_DIM, ONSET
from retrieval.library.embedding import Music
from retrieval.library.phrases import beat_strength
from retrieval.library.song_summary import song_summary


def music_query(song: MusicFeatures) -> Music:
    """Tempo, beat strength and, where the features are the 35-d ones that libraries are built from, their summary."""
    if song.features.shape[1] != DSP_DIM:
        return Music(song.tempo, beat_strength(song.onset, song.beats))
    strength = beat_strength(song.features[:, ONSET], song.beats)
    return Music(song.tempo, strength, summary=song_summary(song.features, song.beats))
