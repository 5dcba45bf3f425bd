"""The server of the source documents: FastAPI with a handler that samples on the event loop, one request at a time.

Each step evaluates the network twice, with and without the condition. `torch` runs the checkpoint's modules as in the
documents; `onnx` runs this program's engine, which separates the gain of the engine from that of batching.
"""

import uvicorn
from fastapi import Body, FastAPI, Response

from bench.peers.request_sampler import Graphs, OnnxGraphs, RequestSampler
from choreo.motion.formats.formats import Format
from export.engine_options import cores
from loadtest.bad_requests import GENERATE
from serving.settings import Settings


def serve(port: int, engine: str) -> None:
    """Serve on a loopback port; `engine` is torch or onnx."""
    sampler = RequestSampler(_torch() if engine == "torch" else OnnxGraphs(Settings().model_repo), joined=False)
    app = FastAPI()

    @app.post(GENERATE)
    async def generate(values: dict[str, object] = Body()) -> Response:
        return Response(sampler.generate([sampler.job(values)])[0], media_type=Format.NPZ.media_type)

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)


def _torch() -> Graphs:
    """The checkpoint's modules on all cores that this process may use."""
    import torch

    from choreo.generators.checkpoint import load_generator

    torch.set_num_threads(cores())
    return load_generator(Settings().weights)
