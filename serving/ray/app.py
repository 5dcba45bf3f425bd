"""The Ray Serve application, and the server that runs it on this machine or on a cluster."""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from ray import serve
from ray.serve.schema import LoggingConfig

from choreo.errors import BackendUnavailable, InvalidInput
from serving.http.ingress import create_app
from serving.http.server import HttpServer
from serving.pipeline.contracts import EncodeStage, FinishStage, RetrieveStage, SampleStage, Stages
from serving.ray.remote import remote
from serving.ray.replicas import EncoderReplica, FinisherReplica, RetrieverReplica, SamplerReplica
from serving.ray.session import RaySession, uninterrupted, within
from serving.ray.watch import Watch
from serving.settings import Settings
from serving.stages.remembered import RememberedEncoder, RememberedModels
from serving.util.log_socket import LogReceiver
from serving.util.logs import LogOptions, adopt_foreign, configure
from serving.util.ownership import sweep_stale

log = logging.getLogger(__name__)

APPLICATION = "choreo"
START_S = 300.0
"""Longest time until the first canary came through all stages."""
STOP_S = 10.0
"""Longest time for Ray to take its application away, before its processes are ended."""
GRACE_S = 5
"""How long answers that are being sent may take when a replica is stopped; what was to be answered is by then."""
HEALTH_PERIOD_S, HEALTH_S = 2, 3
"""Ray asks a replica this often, and replaces one that has not answered three times in this time."""
SAY_S = 1.0
"""Time after which a user is told what the server waits for."""
POLL_S = 0.2
CPUS = 0.25
"""What an actor asks Ray for. It is about placement, not about speed: several share a core of a small machine."""
SPARE = 64
"""Requests beyond admission that may be inside the ingress: probes, and those that are being refused."""


class ProxiedIngress:
    """The HTTP surface over the deployments, behind Ray's proxies."""

    def __init__(self, settings: Settings, logs: LogOptions, *stages: Any) -> None:
        configure(logs)
        adopt_foreign()
        self._app = create_app(settings, _stages(settings, *stages), proxied=True)
        self._app.state.jobs.start()

    async def drain(self, seconds: float) -> bool:
        """Refuse new requests and answer those that were accepted; whether there was time for all."""
        done: bool = await self._app.state.drain(seconds)
        return done

    def __serve_build_asgi_app__(self) -> Any:
        """The application; Ray asks for it in the replica."""
        return self._app

    async def __del__(self) -> None:
        """Called by Ray at the end, also where another replica takes over: requests of jobs are put back at once."""
        await self._app.state.jobs.close()


class ListeningIngress:
    """The same on an address of its own: a proxy in front of a single ingress costs more than the ingress."""

    def __init__(self, address: tuple[str, int], settings: Settings, logs: LogOptions, *stages: Any) -> None:
        configure(logs)
        adopt_foreign()
        # A call costs half the processor time as a message of gRPC, instead of a task of an actor.
        near = [stage.options(_by_reference=False) for stage in stages]
        self._app = create_app(settings, _stages(settings, *near))
        self._server = HttpServer(self._app, *address, settings, patience_s=GRACE_S)
        self._started = asyncio.get_running_loop().create_task(self._server.start())
        self._app.state.jobs.start()

    async def check_health(self) -> None:
        """Asked by Ray: whether the address could be listened on."""
        await self._started

    async def drain(self, seconds: float) -> bool:
        """Refuse new requests, answer those that were accepted, and close; whether there was time for all."""
        done: bool = await self._app.state.drain(seconds)
        await self._server.stop()
        return done

    async def __del__(self) -> None:
        """Called by Ray at the end; see `ProxiedIngress`."""
        await self._app.state.jobs.close()
        await self._server.stop()


def _stages(settings: Settings, encoder: Any, retriever: Any, sampler: Any, finisher: Any) -> Stages:
    """The stages behind handles, with what the ingress remembers of them."""
    return Stages(
        RememberedEncoder(remote(EncodeStage, encoder), settings.conditioning_cache_bytes),
        remote(RetrieveStage, retriever),
        RememberedModels(remote(SampleStage, sampler)),
        remote(FinishStage, finisher),
    )


def serve_app(
    settings: Settings,
    triton_urls: Sequence[str],
    address: tuple[str, int] | None = None,
    leases: Path | None = None,
    logs: LogOptions | None = None,
) -> serve.Application:
    """The five deployments, joined.

    Args:
        settings: limits and paths, as they are on the machines that run the replicas.
        triton_urls: gRPC addresses of the Triton servers.
        address: host and port that the ingress listens on; None: Ray's proxies do.
        leases: folder that the Triton supervisor of this host says its models in (`serving.engines.leases`).
        logs: how the processes of the replicas log; None: as the settings say, each on its own standard error.
    """
    logs = logs or LogOptions(settings.log_format == "json", settings.log_level)
    running, queued = settings.max_ongoing_requests, settings.max_queued_requests
    # The ingress admits no more than these together, so a queue between stages never overflows by itself.
    stage = {"max_ongoing_requests": running, "max_queued_requests": running + queued}
    encoder = _deployment(EncoderReplica, "Encoder", **stage).bind(settings, logs=logs.of("encoder"))
    retriever = _deployment(RetrieverReplica, "Retriever", **stage).bind(settings, logs=logs.of("retriever"))
    probed = stage | {"max_ongoing_requests": running + SPARE}  # canaries must not wait behind the work
    sampler = _deployment(SamplerReplica, "Sampler", **probed).bind(
        list(triton_urls), settings, leases, logs=logs.of("sampler")
    )
    finisher = _deployment(FinisherReplica, "Finisher", **stage).bind(settings.text_motion, logs=logs.of("finisher"))
    stages = settings, logs.of("ingress"), encoder, retriever, sampler, finisher
    if address is not None:
        return _deployment(ListeningIngress, "Ingress").bind(address, *stages)
    inside = {"max_ongoing_requests": running + queued + SPARE}
    return _deployment(serve.ingress()(ProxiedIngress), "Ingress", **inside).bind(*stages)


class Server:
    """Context manager: Ray Serve with the application. Inside it, `url` answers; after it, nothing of it is left.

    See `RaySession` for the thread to enter it from, and for standard output meanwhile.

    Args:
        settings: limits, paths, and the address to listen on; port 0 takes a free one.
        triton_urls: gRPC addresses of the Triton servers.
        leases: folder of the Triton supervisor of this host, if there is one.
        log_to_driver: show what the replicas print on standard error.
        start_s: longest time until the server is ready.
    """

    def __init__(
        self,
        settings: Settings,
        triton_urls: Sequence[str],
        *,
        leases: Path | None = None,
        log_to_driver: bool = False,
        start_s: float = START_S,
    ) -> None:
        self.settings = settings
        self.session = RaySession(settings.ray_address, log_to_driver)
        self.url = ""
        self._triton_urls, self._leases = list(triton_urls), leases
        self._start_s = start_s
        self._watch: Watch | None = None
        self._receiver: LogReceiver | None = None
        self._exit = contextlib.ExitStack()

    @property
    def problem(self) -> str | None:
        """Why the server cannot go on; None while it can."""
        return None if self._watch is None else self._watch.problem

    def drain(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """Refuse new requests and wait until those that were accepted are answered, for at most `settings.drain_s`.

        Args:
            hurry: whether to wait no longer.
        """
        seconds, began, told = self.settings.drain_s, time.monotonic(), False
        # Ray's handles keep tasks in the loop that they were used in, which must outlive Ray.
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="drain", daemon=True).start()
        draining = asyncio.run_coroutine_threadsafe(_drain(seconds), loop)
        while not draining.done() and not hurry() and self.problem is None:
            time.sleep(POLL_S)
            if not told and time.monotonic() - began > SAY_S:
                told = True
                log.warning("answering what was accepted, for at most %g s; Ctrl-C stops at once", seconds)

    def __enter__(self) -> Self:
        """Start, and wait until every stage has answered a canary.

        Raises:
            InvalidInput: the port is taken, or the host is not of this machine.
            BackendUnavailable: a deployment failed, or was not ready in time.
        """
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        host, port = self.settings.host, free_port(self.settings.host, self.settings.port)
        deadline = time.monotonic() + self._start_s
        # Last of all: Ray ends its replicas without asking them for the memory that they share with Triton.
        self._exit.callback(sweep_stale)
        logs = self._logs()
        self._exit.enter_context(self.session)
        self._exit.callback(self._withdraw)
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
        # On a cluster that others use as well, its proxies find the replicas wherever they are.
        proxied = bool(self.settings.ray_address)
        location, options = ("HeadOnly", {"host": host, "port": port}) if proxied else ("Disabled", None)
        serve.start(proxy_location=location, http_options=options, logging_config=quiet)
        try:
            address = None if proxied else (host, port)
            app = serve_app(self.settings, self._triton_urls, address, self._leases, logs)
            serve.run(app, name=APPLICATION, route_prefix="/", logging_config=quiet)
        except RuntimeError as error:
            raise BackendUnavailable(f"a deployment could not start: {error}") from error
        self.url = f"http://{_reachable(host)}:{port}"
        _wait_until_ready(self.url, deadline)
        if not proxied:
            self._watch = self._exit.enter_context(Watch(self.session, self.url, self._triton_urls))

    def _logs(self) -> LogOptions:
        """How replicas log. On a Ray of this server's own, lines of JSON come here, because its files end with it."""
        wanted = LogOptions(self.settings.log_format == "json", self.settings.log_level)
        if wanted.json and not self.settings.ray_address:
            self._receiver = self._exit.enter_context(LogReceiver())
            return replace(wanted, socket=self._receiver.path)
        return wanted

    def _stop(self) -> None:
        self.session.silence_logs()
        if self._receiver is not None:
            self._receiver.silent = True
        with uninterrupted():
            self._exit.close()

    def _withdraw(self) -> None:
        """Take the application away; a cluster that was there before keeps running."""
        if self.settings.ray_address:
            within(lambda: serve.delete(APPLICATION), STOP_S, "serve.delete")
        else:
            within(serve.shutdown, STOP_S, "serve.shutdown", self.session.is_owner)


async def _drain(seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds + GRACE_S + 1):
            await serve.get_app_handle(APPLICATION).drain.remote(seconds)
    except Exception as error:  # the ingress may have died; Ray has many errors for that
        log.warning("the server ends before what it accepted was answered: %r", error)


def free_port(host: str, port: int) -> int:
    """The port, or a free one for 0, if it can be listened on.

    Raises:
        InvalidInput: it cannot.
    """
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise InvalidInput("host", f"is not an address to listen on: {host!r}") from error
    with socket.socket(info[0], socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(info[4])
        except OSError as error:
            raise InvalidInput("port", f"{host}:{port} cannot be listened on: {error.strerror}") from error
        return int(probe.getsockname()[1])


def _deployment(replica: type, name: str, **options: Any) -> Any:
    return serve.deployment(replica).options(
        name=name,
        ray_actor_options={"num_cpus": CPUS},
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=GRACE_S,
        health_check_period_s=HEALTH_PERIOD_S,
        health_check_timeout_s=HEALTH_S,
        **options,
    )


def _reachable(host: str) -> str:
    """An address under which this machine reaches itself."""
    reachable = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{reachable}]" if ":" in reachable else reachable


def _wait_until_ready(url: str, deadline: float) -> None:
    said = "nothing"
    with httpx.Client(trust_env=False) as client:
        while (left := deadline - time.monotonic()) > 0:
            try:
                answer = client.get(f"{url}/readyz", timeout=left)
            except httpx.HTTPError as error:
                said = str(error)
            else:
                if answer.status_code == 200:
                    return
                said = answer.text
            time.sleep(POLL_S)
    raise BackendUnavailable(f"the server was not ready in time; the last answer was {said}")
