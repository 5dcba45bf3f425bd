"""The server of the source documents: FastAPI with a handler that samples on the event loop, one request at a time.

Each step evaluates the network twice, with and without the condition. `torch` runs the checkpoint's modules as in the
documents; `onnx` runs this program's engine, which separates the gain of the engine from that of batching.
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
