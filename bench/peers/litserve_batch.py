"""LitServe (Lightning AI) with request-level batching over this program's engine; one worker, all cores."""

from typing import Any

import litserve  # type: ignore[import-untyped]
from fastapi import Response

from bench.peers.request_sampler import MAX_REQUESTS, WAIT_S, OnnxGraphs, RequestSampler
from choreo.motion.formats.formats import Format
from loadtest.bad_requests import GENERATE
from serving.pipeline.request import MotionRequest
from serving.settings import Settings


class MotionApi(litserve.LitAPI):
    """LitServe's hooks, called in its worker process."""

    def setup(self, device: str) -> None:
        """Load the graphs."""
        self._sampler = RequestSampler(OnnxGraphs(Settings().model_repo), joined=True)

    def decode_request(self, request: dict[str, Any]) -> MotionRequest:
        """The request of a body."""
        return self._sampler.job(request)

    def predict(self, jobs: list[MotionRequest]) -> list[bytes]:
        """Sample a batch from the first step to the last."""
        return self._sampler.generate(jobs)

    def encode_response(self, output: bytes) -> Response:
        """The NPZ file as a response."""
        return Response(output, media_type=Format.NPZ.media_type)


def serve(port: int) -> None:
    """Serve on a loopback port."""
    api = MotionApi(max_batch_size=MAX_REQUESTS, batch_timeout=WAIT_S, api_path=GENERATE)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=False)
    server.run(host="127.0.0.1", port=port, num_api_servers=1, generate_client_file=False, log_level="warning")
