"""What a worker must know; it travels to wherever the worker runs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from choreo.rigs.animate import Character
from serving.batch.attachments import AttachmentReader
from serving.batch.items import ItemDefaults
from serving.batch.storage import Store
from serving.engines.base import Engine
from serving.settings import Settings


@dataclass(frozen=True)
class WorkerConfig:
    """Settings of a worker.

    Attributes:
        checkpoints: of generators, the default one first; empty: that of the settings.
        character: the user's own, which dances every item, too.
        make_engine: of the engine that evaluates instead of one in the worker or on the settings' Tritons.
    """

    settings: Settings
    store: Store
    reader: AttachmentReader
    defaults: ItemDefaults = field(default_factory=ItemDefaults)
    checkpoints: tuple[Path, ...] = ()
    character: Character | None = None
    make_engine: Callable[[], Engine] | None = None
