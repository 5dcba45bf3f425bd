"""Training clips by the synthetic choreographer, each to a synthesised song of its tempo."""

from typing import Final

import numpy as np

from choreo.data.clip import Caption, Clip, motion_features
from choreo.data.licences import OWN
from choreo.data.synthetic.dances import MOVES, synthesize_dance
from choreo.data.synthetic.songs import synthesized_songs
from choreo.motion.skeleton import FPS
from choreo.music.beats import beat_phase_channels, tempo_of
from choreo.music.encoders import DSP35, MusicEncoder

SECONDS: Final = 12.0


def synthetic_clips(count: int, seed: int = 0, encoder: MusicEncoder = DSP35) -> list[Clip]:
    """`count` dances that go through the moves and the range of tempos; deterministic."""
    rng = np.random.default_rng(seed)
    songs = list(synthesized_songs(count, seed, SECONDS, encoder))
    moves = sorted(MOVES)
    out = []
    for i, at in enumerate(rng.permutation(count)):
        song, move = songs[at], moves[i % len(moves)]
        motion, _, caption = synthesize_dance(move, tempo_of(song.beats), SECONDS, seed + i)
        features, heading = motion_features(motion.positions)
        frames = min(len(features), song.num_frames)
        out.append(
            Clip(
                key=f"synthetic_{move}_{seed + i}+{song.name}",
                group=f"synthetic_{seed + i}",
                family=f"synthetic_{MOVES[move].genre}",
                features=features[:frames],
                heading=heading[:frames],
                music=song.features[:frames],
                rhythm=beat_phase_channels(song.beats, song.onset[:frames], frames, FPS, song.downbeats),
                residual=0.0,
                licence=OWN,
                captions=(Caption(caption, 0, frames),),
            )
        )
    return out
