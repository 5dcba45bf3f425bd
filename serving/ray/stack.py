"""The whole stack on one machine: model repository, Triton, Ray Serve; started in order, stopped in reverse."""

import asyncio
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Self

from choreo.errors import BackendUnavailable, ChoreoError, InvalidInput
from choreo.generators.checkpoint import CONFIG
from choreo.generators.spec import GeneratorSpec
from export.apart import build_apart
from export.repository import serve_first, serve_only, served
from serving.engines.triton import TritonEngine
from serving.http.key_entries import given_keys
from serving.ray.app import Server, free_port
from serving.settings import Settings
from serving.stages.library_watch import LibraryWatch
from serving.triton.launch import TritonSettings
from serving.triton.supervisor import TritonServer

POLL_S = 0.5
FOREIGN_S = 6.0
"""How long Triton servers that were started by somebody else may take to answer for the first time."""
ASK_S = 2.0


class Stack:
    """Context manager. Inside it, `url` answers; after it, no process, port or shared memory of it is left."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._exit = ExitStack()
        self._interrupted, self._hurried = threading.Event(), threading.Event()
        self._waiting = False
        self._server: Server | None = None
        self.triton: TritonServer | None = None
        self.url = ""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException as error:
            self._exit.close()
            if isinstance(error, InvalidInput):
                raise InvalidInput(self._settings.named(error.field), error.message) from error
            raise
        return self

    def _start(self) -> None:
        # A second signal while things are being stopped must not leave half of them behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            previous = signal.signal(number, self._on_signal)
            self._exit.callback(signal.signal, number, previous)
        settings = self._settings
        if not settings.ray_address:
            free_port(settings.host, settings.port)  # before anything is started for nothing
        # On a cluster the library is where the replicas run, which is not for this machine to see.
        named = settings.phrases_named and not settings.ray_address
        library = LibraryWatch(settings.phrases)
        if named:
            library.require()
        if not settings.ray_address:
            given_keys(settings)
        urls, leases = list(settings.triton_url), None
        if not urls:
            spec = self._export(settings)
            settings = settings.model_copy(update={"default_model": settings.default_model or spec.name})
            if named:
                library.require((spec.text_encoder, spec.text_dim))
            self.triton = self._exit.enter_context(TritonServer(settings.model_repo, TritonSettings()))
            urls, leases = [self.triton.grpc_url], self.triton.leases
        elif not settings.ray_address:  # from a cluster they may be reached where they cannot be from here
            asyncio.run(check_triton(urls))
        self._server = self._exit.enter_context(Server(settings, urls, leases=leases))
        self.url = self._server.url

    @staticmethod
    def _export(settings: Settings) -> GeneratorSpec:
        """Write what is not current into the repository; the contract of the default generator."""
        field, folders = ("models", settings.models) if settings.models else ("weights", (settings.weights,))
        for folder in folders:
            if settings.named(field) != field and not (folder / CONFIG).is_file():
                raise InvalidInput(field, f"there is no checkpoint at {folder}")
        specs = [build_apart(folder, settings.model_repo).spec for folder in folders]
        if settings.models:
            serve_only(settings.model_repo, [spec.name for spec in specs])
        else:
            serve_first(settings.model_repo, specs[0].name)
        names = served(settings.model_repo)
        if settings.default_model and settings.default_model not in names:
            raise InvalidInput(
                "default_model", f"must be one of {', '.join(names)}, got {settings.default_model[:64]!r}"
            )
        return specs[0]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def wait(self) -> None:
        """Block until SIGINT or SIGTERM, which end the program as wanted rather than as a failure.

        What was accepted is answered first, in its own time; a second signal ends that.

        Raises:
            BackendUnavailable: the server broke down, and cannot be mended from here.
        """
        assert self._server is not None
        self._waiting = True
        while not self._interrupted.wait(POLL_S):
            problem = self._server.problem
            if self.triton is not None and not self.triton.watched:
                problem = "the supervisor of Triton has failed"
            if problem is not None:
                raise BackendUnavailable(f"the server was stopped: {problem}; start it again")
        self._server.drain(self._hurried.is_set)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted.is_set():
            self._hurried.set()
            return
        self._interrupted.set()
        if not self._waiting:
            raise KeyboardInterrupt


async def check_triton(urls: Sequence[str]) -> None:
    """Find out whether a server at one of the addresses serves a generator, before anything waits for it.

    Raises:
        InvalidInput: none does.
    """
    until = time.monotonic() + FOREIGN_S
    while True:
        answers = await asyncio.gather(*[_served(url) for url in urls], return_exceptions=True)
        if any(not isinstance(answer, BaseException) for answer in answers):
            return
        if time.monotonic() > until:
            reason = "; ".join(str(answer) for answer in answers)
            raise InvalidInput("triton_url", f"no Triton server with a generator answers over gRPC: {reason}")
        await asyncio.sleep(POLL_S)


async def _served(url: str) -> None:
    engine = TritonEngine([url], timeout_s=ASK_S, rounds=1)
    try:
        async with asyncio.timeout(2 * ASK_S):
            await engine.models()
    except TimeoutError:
        raise BackendUnavailable(f"{url} did not answer in time") from None
    except ChoreoError as error:
        raise BackendUnavailable(f"{url}: {error}") from error
    finally:
        await engine.close()
