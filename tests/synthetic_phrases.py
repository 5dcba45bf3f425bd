"""Recordings for phrase libraries, and a text encoder that needs no weights."""

import hashlib
from collections.abc import Sequence

import numpy as np

from choreo.data.synthetic import MOVES, synthesize_dance
from retrieval.build import PhraseSource


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
