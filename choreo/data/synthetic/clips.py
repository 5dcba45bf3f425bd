"""Training clips by the synthetic choreographer, each to a synthesised song of its tempo."""

from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Final

import numpy as np

from choreo.data.clip import Caption, Clip, motion_features
from choreo.data.licences import OWN
from choreo.data.synthetic.dances import MOVES, synthesize_dance
from choreo.data.synthetic.songs import BeatSong, song_in_style, synthesized_songs
from choreo.data.synthetic.step_dances.catalogue import STEP_DANCES
from choreo.data.synthetic.step_dances.dancing import Sentence, dance_steps
from choreo.motion.clip import Motion
from choreo.motion.skeleton import FPS
from choreo.music.beats import beat_phase_channels, tempo_of
from choreo.music.encoders import DSP35, MusicEncoder

SECONDS: Final = 12.0


def synthetic_clips(count: int, seed: int = 0, encoder: MusicEncoder = DSP35) -> list[Clip]:
    """`count` dances, in turn one of the moves at any tempo and one of the step dances at its own; deterministic."""
    moves = move_clips(count - count // 2, seed, encoder)
    steps = step_dance_clips(count // 2, seed, encoder)
    pairs = zip_longest(moves, steps)
    return [clip for clip in chain.from_iterable(pairs) if clip is not None]


def move_clips(count: int, seed: int = 0, encoder: MusicEncoder = DSP35) -> Iterator[Clip]:
    """Dances that go through the moves and the range of tempos."""
    rng = np.random.default_rng(seed)
    songs = list(synthesized_songs(count, seed, SECONDS, encoder))
    moves = sorted(MOVES)
    for i, at in enumerate(rng.permutation(count)):
        song, move = songs[at], moves[i % len(moves)]
        motion, _, caption = synthesize_dance(move, tempo_of(song.beats), SECONDS, seed + i)
        sentences = (Sentence(caption, 0, motion.num_frames),)
        yield _clip(motion, song, sentences, f"{move}_{seed + i}", f"{seed + i}", MOVES[move].genre)


def step_dance_clips(count: int, seed: int = 0, encoder: MusicEncoder = DSP35) -> Iterator[Clip]:
    """Dances that go through the step dances, to music of their metre and tempo."""
    rng = np.random.default_rng(seed)
    names = sorted(STEP_DANCES)
    for i in range(count):
        name = names[i % len(names)]
        dance = STEP_DANCES[name]
        tempo = round(float(rng.uniform(*dance.tempos)), 1)
        song = song_in_style(name, dance.music, tempo, SECONDS, seed + i, encoder)
        danced = dance_steps(name, tempo, SECONDS, seed + i)
        yield _clip(
            danced.motion, song, danced.sentences, f"{name}_{seed + i}", f"steps_{seed + i}",
            dance.genre.replace(" ", "_"),
        )  # fmt: skip


def _clip(motion: Motion, song: BeatSong, sentences: tuple[Sentence, ...], key: str, group: str, family: str) -> Clip:
    """A dance with its song, both cut to the shorter of them."""
    features, heading = motion_features(motion.positions)
    frames = min(len(features), song.num_frames)
    return Clip(
        key=f"synthetic_{key}+{song.name}",
        group=f"synthetic_{group}",
        family=f"synthetic_{family}",
        features=features[:frames],
        heading=heading[:frames],
        music=song.features[:frames],
        rhythm=beat_phase_channels(song.beats, song.onset[:frames], frames, FPS, song.downbeats),
        residual=0.0,
        licence=OWN,
        captions=tuple(Caption(s.text, s.start, min(s.end, frames)) for s in sentences if s.start < frames),
    )
