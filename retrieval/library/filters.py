"""Filters on the phrases that a search may find: genre, tempo and licence."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from retrieval.library.table import PhraseTable


@dataclass(frozen=True)
class PhraseFilter:
    """Conditions that must all hold; an empty one allows everything.

    Attributes:
        genres: names of dances, in any letter case.
        licences: licence tags, in any letter case.
        min_tempo, max_tempo: beats per minute; a phrase of unknown tempo passes only if neither is given.
    Raises:
        InvalidInput: a tempo is not a positive number, or the minimum is above the maximum.
    """

    genres: frozenset[str] = frozenset()
    licences: frozenset[str] = frozenset()
    min_tempo: float | None = None
    max_tempo: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_tempo", "max_tempo"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InvalidInput(name, f"must be a positive number of beats per minute, got {value}")
        if self.min_tempo is not None and self.max_tempo is not None and self.min_tempo > self.max_tempo:
            raise InvalidInput("min_tempo", f"is {self.min_tempo:g}, above the max_tempo {self.max_tempo:g}")

    @property
    def allows_everything(self) -> bool:
        """Whether there is no condition."""
        return self == EVERYTHING

    def rows(self, table: PhraseTable) -> NDArray[np.bool_]:
        """Mask (N,) of the rows of a table that pass."""
        out = np.ones(len(table), np.bool_)
        for name, wanted in (("genre", self.genres), ("licence", self.licences)):
            if wanted:
                codes, texts = table.codes(name)
                lower = {text.casefold() for text in wanted}
                out &= np.array([text.casefold() in lower for text in texts], np.bool_)[codes]
        if self.min_tempo is not None or self.max_tempo is not None:
            tempo = table.numbers("tempo")
            out &= (tempo > 0) & (tempo >= (self.min_tempo or 0)) & (tempo <= (self.max_tempo or math.inf))
        return out


EVERYTHING = PhraseFilter()
