"""An engine whose denoiser is a known function, and requests for a sampler over it."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.errors import BackendUnavailable, NonFiniteOutput
from choreo.generators.base import Conditioning
from choreo.generators.spec import GeneratorSpec
from choreo.generators.unet.graphs import unet_spec
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.validation import validated_request
from serving.sampling.runner import executor
from serving.settings import Settings
from serving.stages.sampler import Sampler


def unet(name: str = "fake", **changes: Any) -> GeneratorSpec:
    return unet_spec(name, **({"context_dim": 4, "mean": (0.5,) * 66, "std": (2.0,) * 66} | changes))


SPEC = unet()


class FakeEngine:
    """Denoiser: x0 = 0.25 x + mean of the prior's mask + text presence; keeps what it was sent.

    Attributes:
        nan_for: windows of x, (T, C) each, for which the denoiser produces NaN.
    """

    def __init__(self, *specs: GeneratorSpec) -> None:
        self.specs = {spec.name: spec for spec in specs or (SPEC,)}
        self.calls: list[tuple[str, dict[str, NDArray[np.float32]]]] = []
        self.down = False
        self.nan_for: list[NDArray[np.float32]] = []
        self.answered_at = -np.inf

    async def models(self) -> dict[str, GeneratorSpec]:
        if not self.specs:
            raise BackendUnavailable("no server named its models")
        return dict(self.specs)

    async def instances(self, graph: str) -> int:
        return 1

    async def infer(
        self, graph: str, inputs: Mapping[str, NDArray[np.float32]], *, deadline: float | None = None
    ) -> dict[str, NDArray[np.float32]]:
        if self.down:
            raise BackendUnavailable("down")
        name, _, graph = graph.rpartition(".")
        self.calls.append((graph, {name: values.copy() for name, values in inputs.items()}))
        self.answered_at = time.monotonic()
        spec = self.specs[name]
        if graph == "conditioner":
            rows, dim = len(inputs["text"]), spec.graph(graph).output_shapes["context"][1]
            context = np.tile(inputs["has_text"][:, :, None], (1, 50, dim)).astype(np.float32)
            return {"context": context, "context_mask": np.ones((rows, 50), np.float32)}
        if any(np.array_equal(row, spoilt) for row in inputs["x"] for spoilt in self.nan_for):
            raise NonFiniteOutput("the denoiser produced NaN or infinity in 'x0'")
        bias = inputs["context"][:, :1, :1] + inputs["prior"][:, :, -1:]
        out = 0.25 * inputs["x"] + bias
        held = inputs["known_mask"]
        (output,) = spec.graph(graph).output_shapes
        return {output: (held * inputs["known"] + (1 - held) * out).astype(np.float32)}

    async def close(self) -> None: ...

    async def statistics(self) -> dict[str, int]:
        return {}

    @property
    def graphs(self) -> list[str]:
        return [graph for graph, _ in self.calls]


def job(**fields: Any) -> MotionRequest:
    return validated_request(parse_fields({"text_prompt": "waltz", "seed": 5, **fields}), Attachments(), Settings())


def conditioning(num_frames: int = 196, **changes: Any) -> Conditioning:
    return replace(Conditioning(num_frames, text=np.ones(384, np.float32)), **changes)


def made(engine: FakeEngine, **options: Any) -> Sampler:
    return Sampler(engine, executor(Settings()), **options)
