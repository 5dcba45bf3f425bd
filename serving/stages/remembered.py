"""Stages that remember answers of the stages behind them, where requests come in."""

import asyncio
import hashlib
import time

import numpy as np

from choreo.generators.base import Conditioning
from choreo.generators.spec import GeneratorSpec
from serving.pipeline.contracts import EncodeStage, SampleStage
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.figures import StageFigures, figures_of
from serving.pipeline.phrases import Prior
from serving.pipeline.request import MotionRequest
from serving.pipeline.results import SamplingResult
from serving.util.bounded_cache import BoundedCache

MODELS_FOR_S = 1.0
"""How long a list of models is believed."""
OVERHEAD_BYTES = 1024
"""What an entry takes in addition to its arrays."""


class RememberedEncoder:
    """An encoder that is not asked again for songs and prompts that were encoded lately.

    What the encoder was set up with, such as its beat tracker, does not change while it runs, so no key names it.

    Args:
        max_bytes: bound of everything that is kept.
    """

    def __init__(self, encoder: EncodeStage, max_bytes: int) -> None:
        self._encoder = encoder
        self._cache: BoundedCache[bytes, EncodedRequest] = BoundedCache(max_bytes, size_of)

    @property
    def hits(self) -> int:
        """Requests that were encoded before."""
        return self._cache.hits

    @property
    def misses(self) -> int:
        """Requests that were not."""
        return self._cache.misses

    @property
    def held_bytes(self) -> int:
        """Memory that is taken."""
        return self._cache.held_bytes

    async def encode(self, request: MotionRequest, spec: GeneratorSpec) -> EncodedRequest:
        """What was encoded before, or the encoder's answer."""
        # Megabytes are not hashed on the event loop.
        large = request.audio is not None or request.features is not None
        key = await asyncio.to_thread(encoding_key, request, spec) if large else encoding_key(request, spec)
        known = self._cache.get(key)
        if known is None:
            known = await self._encoder.encode(request, spec)
            self._cache.put(key, known)
        return known

    async def warm_up(self, spec: GeneratorSpec) -> None:
        """Warm the encoder up."""
        await self._encoder.warm_up(spec)

    async def figures(self) -> StageFigures:
        """What the encoder tells of itself."""
        return await figures_of(self._encoder)


class RememberedModels:
    """A sampler whose list of models is asked for once in a while."""

    def __init__(self, sampler: SampleStage) -> None:
        self._sampler = sampler
        self._models: dict[str, GeneratorSpec] = {}
        self._until = 0.0

    async def models(self) -> dict[str, GeneratorSpec]:
        """Contracts of the served generators, at most `MODELS_FOR_S` old."""
        if time.monotonic() >= self._until:
            self._models = await self._sampler.models()
            self._until = time.monotonic() + MODELS_FOR_S
        return self._models

    async def sample(self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None) -> SamplingResult:
        """The sampler's answer."""
        return await self._sampler.sample(request, conditioning, prior)

    async def samples(
        self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None
    ) -> list[SamplingResult | None]:
        """The sampler's answer."""
        return await self._sampler.samples(request, conditioning, prior)

    async def warm_up(self) -> None:
        """Warm the sampler up."""
        await self._sampler.warm_up()

    async def figures(self) -> StageFigures:
        """What the sampler tells of itself."""
        return await figures_of(self._sampler)


def size_of(encoded: EncodedRequest) -> int:
    """Bytes that an entry is counted as."""
    conditioning = encoded.conditioning
    of = conditioning
    arrays = of.music, of.text, of.beats, of.onset, of.downbeats, of.repeats
    return OVERHEAD_BYTES + encoded.beats.nbytes + sum(array.nbytes for array in arrays if array is not None)


def encoding_key(request: MotionRequest, spec: GeneratorSpec) -> bytes:
    """Hash of everything that the encoder reads, and of the generator that it encodes for."""
    digest = hashlib.sha256()
    start = None if request.start is None else (request.start.num_frames, request.start.fps)
    encoders = spec.name, spec.music_encoder, spec.text_encoder
    said = request.rhythm, request.num_samples, request.segments, request.repeat_sections
    for part in (*encoders, request.text, request.num_frames, start, *said):
        digest.update(repr(part).encode("utf-8", "surrogatepass") + b"\0")
    for name, data in (("audio", request.audio), ("features", request.features)):
        if data is not None:
            digest.update(f"{name} {getattr(data, 'shape', len(data))} ".encode())
            digest.update(data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes())
    return digest.digest()
