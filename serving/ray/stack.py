"""The whole stack on one machine: model repository, Triton, Ray Serve; started in order, stopped in reverse."""

import signal
import threading
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Self

from choreo.generators.spec import GeneratorSpec
from export.build import build_repository
from export.repository import serve_first, serve_only
from serving.ray.app import Server
from serving.settings import Settings
from serving.stages.library_watch import LibraryWatch
from serving.triton.supervisor import TritonServer, TritonSettings


class Stack:
    """Context manager. Inside it, `url` answers; after it, no process, port or shared memory of it is left."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._exit = ExitStack()
        self._interrupted = threading.Event()
        self._waiting = False
        self.triton: TritonServer | None = None
        self.url = ""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._exit.close()
            raise
        return self

    def _start(self) -> None:
        # A second signal while things are being stopped must not leave half of them behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            previous = signal.signal(number, self._on_signal)
            self._exit.callback(signal.signal, number, previous)
        settings = self._settings
        # On a cluster the library is where the replicas run, which is not for this machine to see.
        named = settings.phrases_named and not settings.ray_address
        library = LibraryWatch(settings.phrases)
        if named:
            library.require()
        urls, leases = list(settings.triton_url), None
        if not urls:
            spec = self._export(settings)
            settings = settings.model_copy(update={"default_model": settings.default_model or spec.name})
            if named:
                library.require((spec.text_encoder, spec.text_dim))
            self.triton = self._exit.enter_context(TritonServer(settings.model_repo, TritonSettings()))
            urls, leases = [self.triton.grpc_url], self.triton.leases
        self.url = self._exit.enter_context(Server(settings, urls, leases=leases)).url

    @staticmethod
    def _export(settings: Settings) -> GeneratorSpec:
        """Write what is not current into the repository; the contract of the default generator."""
        folders = settings.models or (settings.weights,)
        specs = [build_repository(folder, settings.model_repo).spec for folder in folders]
        if settings.models:
            serve_only(settings.model_repo, [spec.name for spec in specs])
        else:
            serve_first(settings.model_repo, specs[0].name)
        return specs[0]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def wait(self) -> None:
        """Block until SIGINT or SIGTERM, which then end the program as wanted rather than as a failure."""
        self._waiting = True
        self._interrupted.wait()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted.is_set():
            return
        self._interrupted.set()
        if not self._waiting:
            raise KeyboardInterrupt
