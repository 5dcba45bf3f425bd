"""Approximate indices: how hard they look is tuned when they are built, for each kind of question by itself.

A prompt alone is compared with a space that was cut up by music and motion, too, so it takes many times the effort
that a prompt with a song takes; one effort for all would be too little for one or a waste for the other.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from choreo.errors import InvalidArtifact
from retrieval.indices.base import RECALL_AT, FaissIndex, IndexInfo, Mask, Rows, Vectors
from retrieval.indices.device import Device
from retrieval.indices.recall import Parts, Pattern, efforts, least_effort, probes

Progress = Callable[[str], None]


class TunedIndex(FaissIndex):
    """A FAISS index that looks at a part of the vectors, more of them with more effort."""

    effort: ClassVar[str]
    """Name of the search parameter, in the manifest as in FAISS."""

    def __init__(self, index: Any, info: IndexInfo, device: Device | None = None) -> None:
        super().__init__(index, info, device)
        self._parts, self._efforts = self._read(info.parameters)
        self._most = max(self._efforts.values())

    def _search(self, vectors: Vectors, k: int, allowed: Mask | None, count: int) -> tuple[Vectors, Rows]:
        scores, rows = np.empty((len(vectors), k), np.float32), np.empty((len(vectors), k), np.int64)
        wanted = np.array([self._efforts.get(pattern, self._most) for pattern in self._parts.of(vectors)])
        for effort in np.unique(wanted):
            these = np.flatnonzero(wanted == effort)
            scores[these], rows[these] = self._search_with(int(effort), vectors[these], k, allowed, count)
        return scores, rows

    @abstractmethod
    def _search_with(
        self, effort: int, vectors: Vectors, k: int, allowed: Mask | None, count: int
    ) -> tuple[Vectors, Rows]:
        """Search with a given effort, raised by as much as a filter or a large k needs."""

    @classmethod
    def _tuned(
        cls, index: Any, vectors: Vectors, parts: Parts, parameters: Mapping[str, Any], most: int, progress: Progress
    ) -> Self:
        """The index with the least efforts, up to `most`, that find what exact search over `vectors` finds."""
        untuned = cls(index, IndexInfo(cls.kind, {**parameters, **_written(cls.effort, parts, {(): most})}))
        k, steps = min(RECALL_AT, len(vectors)), efforts(cls._least(), most)
        tuned: dict[Pattern, int] = {}
        recalls, asked = [], 0
        for probe in probes(vectors, parts):

            def search(queries: Vectors, effort: int) -> Rows:
                return untuned._search_with(effort, queries, k, None, len(vectors))[1]

            tuned[probe.pattern], recall = least_effort(probe, vectors, search, steps)
            recalls.append(recall)
            asked += len(probe.queries)
            progress(f"{cls.kind}: {cls.effort} {tuned[probe.pattern]} for {probe.pattern}, recall {recall:.3f}")
        info = IndexInfo(
            cls.kind,
            {**parameters, **_written(cls.effort, parts, tuned or {(): most})},
            round(min(recalls, default=1.0), 4),
            asked,
        )
        return cls(index, info)

    @classmethod
    @abstractmethod
    def _least(cls) -> int:
        """The effort to try first."""

    def _read(self, parameters: Mapping[str, Any]) -> tuple[Parts, dict[Pattern, int]]:
        """Parts and efforts by pattern, as `_written` wrote them.

        Raises:
            InvalidArtifact: they are missing or make no sense.
        """
        try:
            parts = Parts(tuple(int(size) for size in parameters["parts"]))
            tuned = {
                tuple(int(part) for part in pattern.split("+") if part): int(effort)
                for pattern, effort in parameters[self.effort].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidArtifact(f"the parameters of the {self.kind} index miss or garble {error}") from error
        if sum(parts.sizes) != self.dim or min(parts.sizes, default=0) < 1:
            raise InvalidArtifact(f"the parts {parts.sizes} of the {self.kind} index are not its {self.dim} dimensions")
        if not tuned or min(tuned.values()) < 1:
            raise InvalidArtifact(f"the {self.kind} index has no {self.effort} of 1 or more")
        return parts, tuned


def _written(name: str, parts: Parts, tuned: Mapping[Pattern, int]) -> dict[str, Any]:
    by_pattern = {"+".join(str(i) for i in pattern): effort for pattern, effort in tuned.items()}
    return {"parts": list(parts.sizes), name: by_pattern}
