"""Recordings for phrase libraries, and a text encoder that needs no weights."""

import hashlib
from collections.abc import Sequence

import numpy as np

from choreo.data.synthetic.dances import MOVES, synthesize_dance
from retrieval.building.build import PhraseSource
from retrieval.library.phrases import STATS, Phrase


class WordEncoder:
    """Sums a fixed random vector per word, so texts that share words are alike."""

    name = "words"
    dim = 48

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(out, texts, strict=True):
            for word in text.lower().replace(",", " ").split():
                seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
                row += np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)
            row /= max(float(np.linalg.norm(row)), 1e-9)
        return out


def dance(move: str = "bounce", tempo: float = 120.0, counts: int = 8, seed: int = 0) -> PhraseSource:
    """One recording of `counts` beats, its closing beat included."""
    seconds = (round(counts * 60 / tempo * 30) + 1) / 30
    motion, beats, caption = synthesize_dance(move, tempo, seconds, seed)
    return PhraseSource(motion, caption, MOVES[move].genre, beats, f"{move}-{tempo:.0f}", "apache-2.0")


def phrase(tempo: float = 120.0, counts: int = 8, lead: float = 0.0) -> Phrase:
    """A phrase of `counts` beats, none for a tempo of 0, that begin `lead` seconds into it; without motion."""
    beats = lead + np.arange(counts + 1) * 60 / tempo if tempo else np.zeros(0)
    frames = round((lead + counts * 60 / (tempo or 120)) * 30)
    return Phrase(
        id="0", source="s", start=0.0, licence="", caption="", genre="", style="", words="", tempo=tempo,
        beat_strength=None, energy=1.0, num_frames=frames, first_row=0, beats=tuple(beats.tolist()),
        stats=(0.0,) * len(STATS), music=None,
    )  # fmt: skip
