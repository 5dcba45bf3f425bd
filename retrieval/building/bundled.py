"""The bundled library: synthetic dances and samples of the shipped model, without any recording."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.synthetic.dances import MOVES, synthesize_dance
from choreo.data.synthetic.songs import song_in_style
from choreo.data.synthetic.step_dances.catalogue import STEP_DANCES
from choreo.data.synthetic.step_dances.dancing import dance_steps
from choreo.motion.skeleton import FPS
from choreo.music.audio import Audio
from choreo.music.features import dsp35
from choreo.music.synth import synthesize_song
from choreo.text.encoders import TextEncoder, text_encoder
from retrieval.building.build import BuildReport, PhraseSource, build_library

TEMPOS: Final = (80.0, 90.0, 100.0, 110.0, 120.0, 130.0, 140.0, 150.0)
STEP_DANCE_TEMPOS: Final = 3
STEP_DANCE_SECONDS: Final = 10.0
LICENCE: Final = "apache-2.0"
SONG_SECONDS: Final = 16.0
"""Long enough for a song summary."""
_METERS: Final = {"box": 3}
_SONGS: Final = {"waltz": "waltz", "hip hop": "breakbeat"}
"""Style of song by genre of dance; house for all others."""
README: Final = """# Bundled phrase library

Motion phrases with their beats and captions, made by the program itself:

* `synthetic/...`: {moves} moves of its choreographer (`choreo/data/synthetic/dances.py`) at {tempos} tempos;
* `steps/...`: {dances} ballroom and Latin dances (`choreo/data/synthetic/step_dances`) at {each} tempos;
* `model/...`: dances of the shipped checkpoint, generated without phrases (`serving/cli/bundle_phrases.py`).

All of them are to songs by its own synthesiser (`choreo/music/synth.py`). No recorded motion or music is in it. What
the checkpoint was trained on is in its model card. `choreo phrases bundle --out weights/phrases` makes the library
again. Licence: Apache-2.0, like the program.
"""


def build_bundled(out: Path, encoder: TextEncoder | None = None, samples: Iterable[PhraseSource] = ()) -> BuildReport:
    """Write the bundled library: a phrase for every move at every tempo, the step dances, and the phrases of `samples`.

    Args:
        out: folder to create.
        encoder: of captions; None: `minilm`.
        samples: dances of a model.
    """
    readme = README.format(moves=len(MOVES), tempos=len(TEMPOS), dances=len(STEP_DANCES), each=STEP_DANCE_TEMPOS)
    return build_library(
        chain(synthetic_sources(), step_dance_sources(), samples),
        out,
        encoder or text_encoder("minilm"),
        extras={"README.md": readme.encode()},
    )


def synthetic_sources() -> Iterator[PhraseSource]:
    """Recordings of one phrase each, to a song that is longer than the phrase."""
    songs: dict[tuple[str, float], NDArray[np.float32]] = {}
    for i, move in enumerate(MOVES):
        genre, meter = MOVES[move].genre, _METERS.get(move, 4)
        for j, tempo in enumerate(TEMPOS):
            # A whole number of frames that includes the closing beat.
            seconds = (round(2 * meter * 60 / tempo * FPS) + 1) / FPS
            motion, _, caption = synthesize_dance(move, tempo, seconds, seed=100 * i + j)
            style = _SONGS.get(genre, "house")
            if (style, tempo) not in songs:
                songs[style, tempo] = bundled_song(style, tempo, j)
            yield PhraseSource(
                motion,
                caption,
                genre,
                np.arange(0, SONG_SECONDS, 60 / tempo),
                f"synthetic/{move}-{tempo:.0f}",
                LICENCE,
                songs[style, tempo],
                meter=meter,
            )


def step_dance_sources() -> Iterator[PhraseSource]:
    """Every step dance from its slowest to its fastest music; its feet are exactly still between steps."""
    for i, (name, dance) in enumerate(STEP_DANCES.items()):
        for j, tempo in enumerate(np.linspace(*dance.tempos, STEP_DANCE_TEMPOS).round()):
            danced = dance_steps(name, float(tempo), STEP_DANCE_SECONDS, seed=1000 + 10 * i + j)
            song = song_in_style(name, dance.music, float(tempo), SONG_SECONDS, seed=10 * i + j)
            yield PhraseSource(
                danced.motion,
                danced.sentences[0].text,
                dance.genre,
                danced.beats,
                f"steps/{name}-{tempo:.0f}",
                LICENCE,
                song.features,
                meter=dance.music.beats_per_bar,
            )


def bundled_song(style: str, tempo: float, seed: int) -> NDArray[np.float32]:
    """Features (N, 35) of a synthetic song whose first beat is at its start."""
    samples, rate, beats = synthesize_song(tempo, SONG_SECONDS, seed, style)
    return dsp35(Audio(samples, rate, SONG_SECONDS, ""), beats)
