"""GPU support of FAISS: finding a GPU, and copies of indices on it."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

GPU = 0
MAX_K = 2048
"""FAISS's limit on neighbours and on probed lists on a GPU."""


@dataclass(frozen=True)
class Device:
    """Where indices may be searched.

    Attributes:
        number: of the GPU, None without one.
        reason: for people, why there is no GPU, or which one is used.
    """

    number: int | None
    reason: str

    def copy_of(self, index: Any) -> "GpuCopy | None":
        """A copy of a FAISS index on this GPU; None without a GPU or without enough memory on it."""
        import faiss

        if self.number is None:
            return None
        resources = faiss.StandardGpuResources()
        try:
            return GpuCopy(faiss.index_cpu_to_gpu(resources, self.number, index), resources, self.number)
        except RuntimeError:  # out of device memory: search on the CPU
            return None


class GpuCopy:
    """An index on a GPU. Its scratch memory serves one search at a time, so searches take turns."""

    def __init__(self, index: Any, resources: Any, number: int) -> None:
        self._index, self._resources = index, resources
        self._lock = threading.Lock()
        self.place = f"cuda:{number}"

    def takes(self, k: int, allowed: NDArray[np.bool_] | None, lists: int = 1) -> bool:
        """Whether FAISS supports such a search on a GPU: without a filter, and within `MAX_K`."""
        return allowed is None and max(k, lists) <= MAX_K

    def search(self, vectors: NDArray[np.float32], k: int, params: Any = None) -> Any:
        """Scores and rows (N, k), with the signature of a FAISS index's own `search`."""
        with self._lock:
            return self._index.search(vectors, k, params=params)


def find_device() -> Device:
    """The first GPU if this build of FAISS can use one, else the reason why not."""
    import faiss

    if not hasattr(faiss, "StandardGpuResources"):
        return Device(None, "this FAISS is built without GPU support (faiss-gpu has it)")
    if faiss.get_num_gpus() < 1:
        return Device(None, "FAISS finds no GPU")
    return Device(GPU, f"GPU {GPU}")
