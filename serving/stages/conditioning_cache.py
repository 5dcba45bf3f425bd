"""What songs and prompts were encoded to, where requests come in: an encoder need not be asked for it again."""

import hashlib

import numpy as np

from choreo.generators.spec import ModelSpec
from serving.pipeline.contracts import Conditioning
from serving.pipeline.request import MotionRequest
from serving.util.bounded_cache import BoundedCache

OVERHEAD_BYTES = 1024
"""What an entry takes beside its arrays."""


class ConditioningCache(BoundedCache[bytes, Conditioning]):
    """The latest conditionings by `conditioning_key`; one that takes more than the bound is not kept."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes, size_of)


def size_of(conditioning: Conditioning) -> int:
    """Bytes that an entry is counted as."""
    arrays = conditioning.music, conditioning.rhythm, conditioning.text, conditioning.beats
    return OVERHEAD_BYTES + sum(array.nbytes for array in arrays if array is not None)


def conditioning_key(job: MotionRequest, spec: ModelSpec) -> bytes:
    """Hash of everything that the encoder looks at, and of the model that it encodes for."""
    digest = hashlib.sha256()
    start = 0 if job.start is None else job.start.num_frames
    for part in (spec.name, spec.music_encoder, spec.text_encoder, job.text, job.num_frames, start):
        digest.update(repr(part).encode("utf-8", "surrogatepass") + b"\0")
    for name, data in (("audio", job.audio), ("features", job.features)):
        if data is not None:
            digest.update(f"{name} {getattr(data, 'shape', len(data))} ".encode())
            digest.update(data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes())
    return digest.digest()
