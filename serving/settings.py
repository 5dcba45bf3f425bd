"""Settings of the servers and of the command line: defaults, overridden by CHOREO_* environment variables."""

import json
import os
import re
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import AliasChoices, Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from choreo.errors import InvalidInput
from choreo.music.beat_tracking.beats import TrackerName
from choreo.music.beat_tracking.heard import DEFAULT_TRACKER
from choreo.shipped import CHECKOUT, shipped

PREFIX: Final = "CHOREO_"
LISTS: Final = ("models", "triton_url", "audio_url_hosts", "webhook_hosts", "catalog_protocols", "cors_origins")
MAX_S: Final = 7 * 24 * 3600.0
"""Longest time that a setting may name."""
MIN_SECRET_CHARS: Final = 16
_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


def default_model_repo() -> Path:
    """In a checkout its `model_repo`; else a folder in the user's cache, because an installed package may be read-only.

    Raises:
        InvalidInput: the user has neither a cache nor a home folder.
    """
    if CHECKOUT is not None:
        return CHECKOUT / "model_repo"
    try:
        return _user_folder("XDG_CACHE_HOME", ".cache") / "model_repo"
    except RuntimeError as error:
        raise InvalidInput("model_repo", "there is no home folder to write it to; set CHOREO_MODEL_REPO") from error


def default_data_dir() -> Path:
    """In a checkout its `var`, which git ignores; else with the user's data, or the system's where there is no home."""
    if CHECKOUT is not None:
        return CHECKOUT / "var"
    try:
        return _user_folder("XDG_DATA_HOME", ".local/share")
    except RuntimeError:
        return Path("/var/lib/choreo")  # nothing is written before the first job, which is refused if this cannot be


def _user_folder(variable: str, usual: str) -> Path:
    """This program's folder in one of the user's; XDG base directory specification 0.8: relative paths are ignored."""
    folder = Path(os.environ.get(variable, ""))
    return (folder if folder.is_absolute() else Path.home() / usual) / "choreo"


class LogSettings(BaseSettings):
    """How a process logs, for commands that need to know no more.

    Raises:
        InvalidInput: as `Settings` does.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        enable_decoding=False,
        allow_inf_nan=False,
    )

    log_format: Literal["text", "json"] = "text"
    """Log lines for people, or `json`: one JSON object a line, which then has those of all processes."""
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """Least level that is logged."""

    _arguments: frozenset[str] = PrivateAttr(frozenset())

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0]) if first["loc"] else "settings"
            if name == "CHOREO_STEP_BATCH_ROWS" and name not in os.environ and "CHOREO_WAVE_ROWS" in os.environ:
                name = "CHOREO_WAVE_ROWS"
            raise InvalidInput(_named(name, values), _reason(first)) from error
        self._arguments = frozenset(values)


class Settings(LogSettings):
    """One owner for every limit and path. `CHOREO_MAX_SECONDS=120` overrides `max_seconds`, and so on.

    An empty variable counts as one that is not set.

    Raises:
        InvalidInput: a value cannot be used; the field is the variable, or the name of the argument.
    """

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
    """Text-motion encoder that evaluation measures with, and that ranks samples of a request."""
    phrases: Path = shipped("weights", "phrases")
    """Phrase library. One that is named here must be there when a server starts; the default one need not."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    triton_url: tuple[str, ...] = ()
    """gRPC addresses of running Triton servers; empty: start one here."""
    ray_address: str = ""
    """A running Ray cluster to serve on; empty: start one on this machine, for this server alone."""

    beat_tracker: TrackerName = DEFAULT_TRACKER
    """What hears the beats of songs; `choreo.music.beat_tracking`."""

    max_seconds: float = Field(3600.0, gt=0, le=MAX_S)
    """Longest motion that a request may ask for."""
    max_song_seconds: float = Field(3600.0, gt=0, le=MAX_S)
    max_body_bytes: int = Field(64 << 20, gt=0)
    max_connections: int = Field(1024, ge=1)
    """Connections at a time; a further one takes the place of the one that has waited longest for its caller. Fewer if
    the process may not have so many files."""
    max_header_bytes: int = Field(32 << 10, ge=1 << 10)
    """Largest head of a request: its first line and all headers. Up to 16 KiB more may pass."""
    header_timeout_s: float = Field(10.0, gt=0, le=MAX_S)
    """Time in which the head of a request must have come; other connections are closed."""
    keep_alive_s: float = Field(75.0, gt=0, le=MAX_S)
    """Time for which a connection without a request stays open after an answer."""
    send_timeout_s: float = Field(60.0, gt=0, le=MAX_S)
    """Time in which a caller must take something of an answer that waits for it."""
    min_upload_rate: int = Field(4096, ge=1)
    """Bytes per second that a body must come with on average, after its first half minute."""
    max_large_uploads: int = Field(64, ge=1)
    """Bodies of more than 64 KiB that are received at a time; further ones are answered 429."""
    max_text_chars: int = Field(1000, gt=0)
    max_steps: int = Field(250, ge=1, le=1000)
    max_guidance_scale: float = Field(20.0, ge=0)
    max_samples: int = Field(16, ge=1, le=64)
    """Most samples of one request, of which the best is the result."""
    request_timeout_s: float = Field(120.0, gt=0, le=MAX_S)
    """Time that a request has which does not say how long its sender waits."""
    max_timeout_s: float = Field(3600.0, gt=0, le=MAX_S)
    """Longest time that a request may ask for."""
    drain_s: float = Field(120.0, ge=0, le=MAX_S)
    """Longest time that a server which is told to stop goes on answering what it has accepted. Their own deadlines hold
    as well, and it stops as soon as the last one is answered."""
    max_ongoing_requests: int = Field(32, ge=1)
    max_queued_requests: int = Field(64, ge=0)
    sampler_concurrency: int = Field(32, ge=1)
    """Samples that one sampler replica denoises at a time."""
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
    phrases_poll_s: float = Field(5.0, gt=0, le=MAX_S)
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

    api_keys_file: Path | None = None
    """JSON file of the keys that callers need (docs/operations.md); none: everybody may ask."""
    api_keys: SecretStr = SecretStr("")
    """The same keys as JSON, in place of a file."""
    open_metrics: bool = True
    """Whether `/metrics` needs no key where others are needed."""
    access_log: Path | None = None
    """File that gets a line of JSON for every request, or "-" to have these with the other lines of JSON; none: no such
    lines."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may use this server from a browser, such as https://studio.example.org; "*": all."""

    data_dir: Path = Field(default_factory=default_data_dir)
    """What must last: asynchronous jobs, their songs and results. It is made when the first job is submitted."""
    jobs_url: str = ""
    """PostgreSQL database of jobs, for several servers: postgresql://user:password@host/name; empty: SQLite in
    `data_dir`."""
    jobs_spool: str = ""
    """Folder or fsspec address (s3://bucket/path) of songs and results of jobs; empty: `data_dir`/spool."""
    max_job_requests: int = Field(1000, ge=1, le=100_000)
    """Requests that one job may have."""
    max_waiting_jobs: int = Field(100, ge=1)
    """Jobs that have not ended; further ones are answered 429."""
    job_concurrency: int = Field(16, ge=1)
    """Requests of jobs that are worked on at a time, while `max_ongoing_requests` leaves turns idle."""
    job_attempts: int = Field(5, ge=1, le=100)
    """How often a request of a job is tried that ends with its server, or with an error that may pass."""
    job_retention_s: float = Field(MAX_S, gt=0, le=365 * 24 * 3600.0)
    """Time after which a job that has ended is forgotten, with its files."""
    max_jobs_bytes: int = Field(10 << 30, gt=0)
    """Songs and results of all jobs; the oldest that have ended are forgotten before it is passed."""
    job_lease_s: float = Field(30.0, ge=1, le=3600)
    """Time without a sign of life after which the requests that a server works on are taken by another one."""
    webhook_secret: SecretStr = SecretStr("")
    """Key of the signatures of webhooks, of at least 16 characters; empty: webhooks are refused."""
    webhook_hosts: tuple[str, ...] = ()
    """Hosts of one's own network that webhooks may go to, by http as well; all others must be public, and https."""
    webhook_timeout_s: float = Field(10.0, gt=0, le=300)
    """Longest time for one delivery of a webhook."""
    webhook_attempts: int = Field(12, ge=1, le=100)
    """Deliveries that are tried; the time between them doubles from `webhook_backoff_s` up to an hour."""
    webhook_backoff_s: float = Field(5.0, gt=0, le=3600)

    catalog_protocols: tuple[str, ...] = ("s3", "gs", "gcs", "az", "abfs")
    """Protocols of fsspec addresses that the songs of a catalog may have. A catalog's own folder needs none."""
    batch_workers: int = Field(0, ge=0, le=1024)
    """Processes that dance the items of a catalog; 0: one on every node of the cluster."""
    batch_items: int = Field(64, ge=1, le=4096)
    """Items that one of them, or a server, has under way at a time: enough that step batches are full while others are
    encoded."""
    batch_patience_s: float = Field(120.0, ge=0, le=MAX_S)
    """Time for which an item waits for an engine or a server that does not answer, before the run stops."""

    @field_validator(*LISTS, mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        """Lists in variables are JSON."""
        if not isinstance(value, str):
            return value
        try:
            items = json.loads(value)
        except (ValueError, RecursionError):
            items = None
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ValueError('must be a JSON list of strings, such as ["one", "two"]')
        return tuple(items)

    @field_validator("triton_url")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            found = _ADDRESS.fullmatch(address)
            if found is None or not 0 < int(found[2]) < 1 << 16:
                raise ValueError(f"must be host:port of a gRPC endpoint, such as 127.0.0.1:8001, got {address[:64]!r}")
        return value

    @field_validator("jobs_url")
    @classmethod
    def _database(cls, value: str) -> str:
        if value and not re.match(r"postgres(ql)?(\+psycopg)?://", value):
            raise ValueError("must be postgresql://user:password@host/name")  # a password must not be repeated
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _secret(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < MIN_SECRET_CHARS:
            raise ValueError(f"must be at least {MIN_SECRET_CHARS} characters")
        return value

    def named(self, field: str) -> str:
        """What a user knows a field by: the variable that it was read from, or its own name."""
        return _named(field, self._arguments)

    @property
    def jobs_database(self) -> Path:
        """SQLite file of jobs, where `jobs_url` names no other database."""
        return self.data_dir / "jobs.sqlite"

    @property
    def phrases_named(self) -> bool:
        """Whether somebody named the phrase library, rather than leave it at the default."""
        return "phrases" in self.model_fields_set


def _named(field: str, arguments: Any) -> str:
    """The environment variable that a field was read from, or the field where no variable is set."""
    variable = field if field.startswith(PREFIX) else f"{PREFIX}{field.upper()}"
    return variable if field not in arguments and os.environ.get(variable) else field


def _reason(error: Any) -> str:
    """What is wrong with a value, in one line."""
    message = str(error["msg"]).removeprefix("Value error, ")
    given = error.get("input")
    shown = "" if message.startswith("must be ") or given is None else f", got {str(given)[:64]!r}"
    return message[:1].lower() + message[1:] + shown
