"""The documents' own server: FastAPI whose handler samples on the event loop, so one request at a time, batch 1.

Each step evaluates the network twice, with the condition and without. `torch` runs the checkpoint's modules as the
documents do; `onnx` runs our graph, so that what the engine gains and what batching gains are separate numbers.
"""

import uvicorn
from fastapi import Body, FastAPI, Response

from bench.peers.graphs import OnnxGraphs, TorchGraphs
from bench.peers.request_sampler import RequestSampler
from choreo.motion.formats.formats import Format
from loadtest.bad_requests import GENERATE
from serving.settings import Settings


def serve(port: int, engine: str) -> None:
    """Serve on a loopback port; `engine` is torch or onnx."""
    settings = Settings()
    graphs = TorchGraphs(settings.weights) if engine == "torch" else OnnxGraphs(settings.model_repo)
    sampler = RequestSampler(graphs, joined=False)
    app = FastAPI()

    @app.post(GENERATE)
    async def generate(values: dict[str, object] = Body()) -> Response:
        return Response(sampler.generate([sampler.job(values)])[0], media_type=Format.NPZ.media_type)

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)
