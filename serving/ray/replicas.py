"""The four deployments behind the ingress: each makes its stage in the replica's process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.pipeline.contracts import EncodeStage, FinishStage, RetrieveStage, SampleStage
from serving.ray.remote import replica_class
from serving.settings import Settings

# Imports are in the functions: gRPC, audio and FAISS are loaded by the one replica that needs them.


def _encoder(settings: Settings) -> Any:
    from serving.stages.encoder import Encoder

    return Encoder(settings)


def _retriever(settings: Settings) -> Any:
    from serving.stages.retriever import Retriever

    return Retriever(settings.phrases, settings.prior_cache_bytes, settings.phrases_poll_s, settings.cross_encoder)


def _sampler(triton_urls: Sequence[str], settings: Settings, leases: Path | None = None) -> Any:
    from serving.engines.leases import Leases
    from serving.engines.triton import TritonEngine
    from serving.sampling.runner import executor
    from serving.stages.context_cache import ContextCache
    from serving.stages.sampler import Sampler

    engine = TritonEngine(triton_urls, default_model=settings.default_model)
    cache = ContextCache(settings.context_cache_bytes)
    return Sampler(engine, executor(settings), cache, settings.sampler_concurrency, Leases(leases))


def _finisher(text_motion: Path | None = None) -> Any:
    from serving.stages.finisher import Finisher

    return Finisher(ready=True, text_motion=text_motion)


class EncoderReplica(replica_class(EncodeStage, _encoder)):  # type: ignore[misc]
    """Decodes and encodes songs and prompts."""


class RetrieverReplica(replica_class(RetrieveStage, _retriever)):  # type: ignore[misc]
    """Holds the phrase library, and takes newer ones in without a pause."""

    def __del__(self) -> None:
        """Called by Ray on the event loop when the replica is stopped."""
        self.stage.close()
        super().__del__()


class SamplerReplica(replica_class(SampleStage, _sampler)):  # type: ignore[misc]
    """Takes requests through the graphs on Triton. The loop over the steps is in here; no step crosses a handle.

    Ray replaces it when it hangs. Whether Triton answers is no part of its health: another replica would not mend that.
    """


class FinisherReplica(replica_class(FinishStage, _finisher)):  # type: ignore[misc]
    """Makes finished motion of generated features, and files of finished motion."""

    def __del__(self) -> None:
        """Called by Ray on the event loop when the replica is stopped."""
        self.stage.close()
        super().__del__()
