"""The library that comes with the program: made by its own synthetic choreographer, so it is free of anyone's terms."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from choreo.data.synthetic import MOVES, synthesize_dance
from choreo.motion.skeleton import FPS
from choreo.text.encoders import TextEncoder, text_encoder
from retrieval.build import BuildReport, PhraseSource, build_library

TEMPOS: Final = (80.0, 90.0, 100.0, 110.0, 120.0, 130.0, 140.0, 150.0)
LICENCE: Final = "apache-2.0"
_METERS: Final = {"box": 3}


def build_bundled(out: Path, encoder: TextEncoder | None = None) -> BuildReport:
    """Write the bundled library: every move at every tempo, one phrase each; the same bytes every time.

    Args:
        out: folder to make.
        encoder: of captions; None: the embedded default.
    """
    return build_library(bundled_sources(), out, encoder or text_encoder("minilm"))


def bundled_sources() -> Iterator[PhraseSource]:
    """Recordings of one phrase each."""
    for i, move in enumerate(MOVES):
        meter = _METERS.get(move, 4)
        for j, tempo in enumerate(TEMPOS):
            # A whole number of frames that reaches the closing beat.
            seconds = (round(2 * meter * 60 / tempo * FPS) + 1) / FPS
            motion, beats, caption = synthesize_dance(move, tempo, seconds, seed=100 * i + j)
            yield PhraseSource(
                motion, caption, MOVES[move].genre, beats, f"synthetic/{move}-{tempo:.0f}", LICENCE, meter=meter
            )
