"""Ray Serve with request-level `@serve.batch` over this program's engine; one replica, all cores."""

import asyncio
import threading

from ray import serve as ray_serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request
from starlette.responses import Response

from bench.peers.request_sampler import MAX_REQUESTS, WAIT_S, OnnxGraphs, RequestSampler
from choreo.motion.formats.formats import Format
from loadtest.bad_requests import GENERATE
from serving.pipeline.request import MotionRequest
from serving.ray.session import RaySession, within
from serving.settings import Settings

WAITING = 1000
"""Concurrent requests of the replica; Ray's default of 5 would limit the batch size."""
STOP_S = 15.0


class MotionReplica:
    """The one deployment."""

    def __init__(self) -> None:
        self._sampler = RequestSampler(OnnxGraphs(Settings().model_repo), joined=True)

    async def __call__(self, request: Request) -> Response:
        """Answer one request, which is sampled in a batch with others."""
        job = self._sampler.job(await request.json())
        return Response(await self._generate(job), media_type=Format.NPZ.media_type)

    @ray_serve.batch(max_batch_size=MAX_REQUESTS, batch_wait_timeout_s=WAIT_S)
    async def _generate(self, jobs: list[MotionRequest]) -> list[bytes]:
        return await asyncio.to_thread(self._sampler.generate, jobs)


def serve(port: int) -> None:
    """Serve on a loopback port."""
    quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
    with RaySession():
        try:
            http = {"host": "127.0.0.1", "port": port}
            ray_serve.start(proxy_location="HeadOnly", http_options=http, logging_config=quiet)
            deployment = ray_serve.deployment(MotionReplica).options(
                max_ongoing_requests=WAITING, ray_actor_options={"num_cpus": 1}, graceful_shutdown_timeout_s=5
            )
            ray_serve.run(deployment.bind(), route_prefix=GENERATE, logging_config=quiet)
            threading.Event().wait()
        finally:
            within(ray_serve.shutdown, STOP_S, "serve.shutdown")
