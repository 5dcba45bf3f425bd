"""Calls of an engine over the tiny generator, and what they answer."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tiny_generator import tiny_inputs, tiny_spec

SPEC = tiny_spec()
OTHER = tiny_spec("other", context_dim=6)
CONDITIONER, DENOISER = SPEC.key("conditioner"), SPEC.key("denoiser")


def rows(count: int, seed: int = 0, t: float = 0) -> dict[str, NDArray]:
    return tiny_inputs(SPEC, "denoiser", count, seed, t)


def expected(inputs: dict[str, NDArray]) -> NDArray:
    return np.sqrt(inputs["x"]) / 2


def without_hanging(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))
