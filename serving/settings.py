"""Settings of the servers and of the command line: defaults, overridden by CHOREO_* environment variables."""

import os
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from choreo.errors import InvalidInput
from choreo.shipped import CHECKOUT, shipped


def default_model_repo() -> Path:
    """In a checkout its `model_repo`; else a folder in the user's cache, because an installed package may be read-only.

    Raises:
        InvalidInput: the user has neither a cache nor a home folder.
    """
    if CHECKOUT is not None:
        return CHECKOUT / "model_repo"
    # XDG base directory specification 0.8: relative paths are invalid and ignored.
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (cache if cache.is_absolute() else Path.home() / ".cache") / "choreo" / "model_repo"
    except RuntimeError as error:
        raise InvalidInput("model_repo", "there is no home folder to write it to; set CHOREO_MODEL_REPO") from error


class Settings(BaseSettings):
    """One owner for every limit and path. `CHOREO_MAX_SECONDS=120` overrides `max_seconds`, and so on."""

    model_config = SettingsConfigDict(env_prefix="CHOREO_", extra="ignore", frozen=True)

    weights: Path = shipped("weights", "unet-small")
    """Checkpoint of the default generator."""
    models: tuple[Path, ...] = ()
    """Checkpoints of the generators to serve, the default one first; empty: `weights`, and whatever else the model
    repository serves."""
    default_model: str = ""
    """Generator that answers requests which name none; empty: the first of `models`, or the first by name."""
    model_repo: Path = Field(default_factory=default_model_repo)
    """Triton model repository, written at the first use and whenever a checkpoint has changed."""
    text_motion: Path = shipped("weights", "tmr-small")
    """Text-motion encoder that evaluation measures with."""
    phrases: Path = shipped("weights", "phrases")
    """Phrase library. One that is named here must be there when a server starts; the default one need not."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    triton_url: tuple[str, ...] = ()
    """gRPC addresses of running Triton servers; empty: start one here."""
    ray_address: str = ""
    """A running Ray cluster to serve on; empty: start one on this machine, for this server alone."""

    max_seconds: float = Field(3600.0, gt=0)
    """Longest motion that a request may ask for."""
    max_song_seconds: float = Field(3600.0, gt=0)
    max_body_bytes: int = Field(64 << 20, gt=0)
    max_text_chars: int = Field(1000, gt=0)
    max_steps: int = Field(250, ge=1, le=1000)
    max_guidance_scale: float = Field(20.0, ge=0)
    request_timeout_s: float = Field(120.0, gt=0)
    """Time that a request has which does not say how long its sender waits."""
    max_timeout_s: float = Field(3600.0, gt=0)
    """Longest time that a request may ask for."""
    max_ongoing_requests: int = Field(32, ge=1)
    max_queued_requests: int = Field(64, ge=0)
    sampler_concurrency: int = Field(32, ge=1)
    """Requests that one sampler replica denoises at a time."""
    executor: Literal["requests", "step-batches", "waves"] = "step-batches"
    """How requests go through the graphs: each in calls of its own, or rows of all together in step batches, which
    were called waves until 0.2."""
    step_batch_rows: int = Field(
        32,
        ge=1,
        le=1024,
        validation_alias=AliasChoices("CHOREO_STEP_BATCH_ROWS", "CHOREO_WAVE_ROWS", "step_batch_rows"),
    )
    """Most rows of one step batch."""
    shared_memory: bool = True
    """Whether step batches reach a Triton server on this machine through memory that both have mapped."""
    song_cache_bytes: int = Field(256 << 20, ge=0)
    """Memory of one encoder replica for features of songs that may come again."""
    conditioning_cache_bytes: int = Field(64 << 20, ge=0)
    """Memory of the ingress for what songs and prompts were encoded to."""
    context_cache_bytes: int = Field(64 << 20, ge=0)
    """Memory of one sampler replica for context rows of songs and prompts that may come again."""
    cross_encoder: str = ""
    """Folder or name of a cross-encoder on this machine that reranks phrases by the prompt, for example
    cross-encoder/ms-marco-MiniLM-L-6-v2; empty, or where its weights are missing: the embedded scorer does."""
    phrases_poll_s: float = Field(5.0, gt=0)
    """Time between looks for a newer phrase library."""
    prior_cache_bytes: int = Field(64 << 20, ge=0)
    """Memory of one retriever replica for motion priors that may be asked for again."""
    max_search_hits: int = Field(50, ge=1, le=50)
    """Most phrases that a search of the library may ask for: no more than the finder reranks for a motion."""
    threads: int = Field(0, ge=0)
    """Threads of one inference session; 0: all cores."""

    allow_audio_url: bool = False
    audio_url_hosts: tuple[str, ...] = ()
    """Hosts that `audio_url` may name when it is allowed; only https, and never a private address."""

    @property
    def phrases_named(self) -> bool:
        """Whether somebody named the phrase library, rather than leave it at the default."""
        return "phrases" in self.model_fields_set
