"""Settings of the servers and of the command line: defaults, overridden by CHOREO_* environment variables."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """One owner for every limit and path. `CHOREO_MAX_SECONDS=120` overrides `max_seconds`, and so on."""

    model_config = SettingsConfigDict(env_prefix="CHOREO_", extra="ignore", frozen=True)

    weights: Path = ROOT / "weights" / "unet-small"
    model_repo: Path = ROOT / "model_repo"
    phrases: Path = ROOT / "weights" / "phrases"

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    triton_url: tuple[str, ...] = ()
    """gRPC addresses of running Triton servers; empty: start one here."""
    ray_address: str = ""
    """A running Ray cluster to serve on; empty: start one on this machine, for this server alone."""

    max_seconds: float = Field(60.0, gt=0)
    """Longest motion that a request may ask for."""
    max_song_seconds: float = Field(600.0, gt=0)
    max_body_bytes: int = Field(64 << 20, gt=0)
    max_text_chars: int = Field(1000, gt=0)
    max_steps: int = Field(250, ge=1, le=1000)
    max_guidance_scale: float = Field(20.0, ge=0)
    request_timeout_s: float = Field(120.0, gt=0)
    max_ongoing_requests: int = Field(16, ge=1)
    max_queued_requests: int = Field(64, ge=0)
    sampler_concurrency: int = Field(8, ge=1)
    """Requests that one sampler replica denoises at a time."""
    threads: int = Field(0, ge=0)
    """Threads of one inference session; 0: all cores."""

    allow_audio_url: bool = False
    audio_url_hosts: tuple[str, ...] = ()
    """Hosts that `audio_url` may name when it is allowed; only https, and never a private address."""
