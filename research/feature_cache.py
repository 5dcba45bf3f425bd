"""Scores of samplers with a cache of deep features (DeepCache, Ma et al. 2024) on held-out windows.

Every few steps the whole U-Net is evaluated; on the steps between, only its widest level is, with the cached output of
the levels below. `all but the last stage` caches more: the input of the last decoder stage. Evaluations are operations,
counted by torch, relative to a full evaluation; samplers without a cache of about the same cost are included. Times are
of alternating full and shallow calls on one thread. Distances are means over joints and frames for the same noise: from
the same sampler without a cache, and from many steps of DPM-Solver++(2M), to which all of them converge.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from bench.command import CHECKPOINT, DATA, benchmark, quick
from bench.report import Row, seconds
from choreo.command_line import say
from choreo.diffusion.presets import PRESETS, Preset
from choreo.errors import InvalidInput
from choreo.generators.checkpoint import load_generator
from choreo.generators.network import GeneratorNetwork
from choreo.generators.sample_inputs import sample_inputs
from choreo.generators.unet.model import UNetModel
from choreo.generators.unet.network import Downsample, MotionUNet
from choreo.generators.windowed import DENOISER
from choreo.training.held_out_dances import HeldOutDances
from research.held_out import GUIDANCE, QUICK, WINDOWS, Dances, apart, danced, open_windows, rows_of
from serving.settings import Settings

EVERY: Final = (2, 3, 5)
"""Steps from one full evaluation to the next, for DDIM; DPM-Solver++(2M) uses only the first value."""
PLAIN: Final = (4, 5, 6, 8, 10, 20)
"""Numbers of steps of DPM-Solver++(2M) without a cache."""
WITH_CACHE: Final = (6, 10)
"""Numbers of steps that are also run with a cache; the first is the preset `fast`."""
MANY: Final = 50
BATCH: Final = 16
REPEATS: Final = 15


class CachedUNet(MotionUNet):
    """A U-Net that can skip the levels below its widest one.

    Attributes:
        every: calls from one full evaluation to the next.
        calls: number of calls since the dance began.
    """

    def __init__(self, network: MotionUNet, last_only: bool = False) -> None:
        """With `last_only`, a shallow call evaluates only the last decoder stage."""
        super().__init__(network.config)
        self.load_state_dict(network.state_dict())
        self.every, self.calls = 1, 0
        self._top = [] if last_only else list(takewhile(lambda b: not isinstance(b, Downsample), self.down))
        kept = len(self._top) + 1  # decoder stages that use these blocks and the input
        self._rest = list(self.up)[-kept:]
        self._deep: Tensor | None = None
        # The deep input of these stages is the output of the block before them.
        list(self.up)[-kept - 1].register_forward_hook(self._keep)

    def _keep(self, module: torch.nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._deep = output

    def _body(self, h: Tensor, emb: Tensor, context: Tensor, context_mask: Tensor, mask: Tensor) -> Tensor:
        whole = self.calls % self.every == 0
        self.calls += 1
        if whole or self._deep is None:
            return super()._body(h, emb, context, context_mask, mask)
        return self._shallow(h, F.silu(emb), context, context_mask, mask)

    def _shallow(self, h: Tensor, emb: Tensor, context: Tensor, context_mask: Tensor, mask: Tensor) -> Tensor:
        """The widest level on cached deep features; after guidance ends, the first of every two rows remains."""
        skips = [self.input_proj(h)]
        for block in self._top:
            skips.append(block(skips[-1], emb, context, context_mask, mask))
        assert self._deep is not None
        h = self._deep[:: len(self._deep) // len(h)]
        for block in self._rest:
            h = block(torch.cat([h, skips.pop()], dim=1), emb, context, context_mask, mask)
        return self.output_proj(F.silu(self.norm(h)))


@dataclass(frozen=True)
class Cost:
    """Cost of a shallow call, as shares of a full call."""

    operations: float
    time: float


@benchmark
def main(
    data: Annotated[Path, DATA],
    checkpoint: Annotated[Path | None, CHECKPOINT] = None,
    windows: Annotated[int, WINDOWS] = 64,
    quick: Annotated[bool, quick("six windows and few steps")] = False,
) -> Iterator[Row]:
    """Samplers without a cache, then with one."""
    settings = Settings()
    generator = load_generator(checkpoint or settings.weights)
    if not isinstance(generator, UNetModel):
        raise InvalidInput("checkpoint", "is not a U-Net")
    held_out = open_windows(data, generator.spec, QUICK if quick else windows, settings)
    steps, many = (6, 8) if quick else (PRESETS["reference"].num_steps, MANY)
    yield from _rows(generator, held_out, steps, many)


def _rows(generator: UNetModel, held_out: HeldOutDances, steps: int, many: int) -> Iterator[Row]:
    yield from rows_of("mocap", held_out.real)
    held_out, low = replace(held_out, guidance_scale=GUIDANCE), PRESETS["fast"].guidance_low
    path, _ = danced(generator, replace(held_out, way=Preset("dpm++2m", many, low)))
    ddim = f"ddim {steps}"
    ways = {ddim: Preset("ddim", steps)} | {f"dpm++2m {few}": Preset("dpm++2m", few, low) for few in PLAIN}
    whole: dict[str, Dances] = {}
    for name, way in ways.items():
        say(name)
        asked = replace(held_out, way=way)
        whole[name], evaluations = danced(generator, asked)
        yield from _scores(name, float(evaluations.sum()), asked, whole[name], path)
    caching = {ddim: EVERY} | {f"dpm++2m {few}": EVERY[:1] for few in WITH_CACHE}
    for last_only, name in ((False, "cache"), (True, "cache of all but the last stage")):
        with cached(generator, last_only) as network:
            cost = shallow_cost(generator, network)
            yield Row(name, "operations of a shallow call", cost.operations, "of a whole one's")
            yield Row(name, "time of a shallow call", cost.time, "of a whole one's")
            for plain, every in ((plain, every) for plain, each in caching.items() for every in each):
                case, asked = f"{plain}, {name}, {every}", replace(held_out, way=ways[plain])
                say(case)
                network.every, network.calls = every, 0
                dances, evaluations = danced(generator, asked)
                shares = np.where(np.arange(len(evaluations)) % every == 0, 1.0, cost.operations)
                yield Row(case, "from uncached", apart(dances, whole[plain]), "m")
                yield from _scores(case, float(evaluations @ shares), asked, dances, path)


def _scores(name: str, evaluations: float, asked: HeldOutDances, dances: Dances, path: Dances) -> Iterator[Row]:
    yield Row(name, "evaluations", evaluations, "per window")
    yield Row(name, "from many steps", apart(dances, path), "m")
    yield from rows_of(name, asked.judged(dances))


@contextmanager
def cached(generator: UNetModel, last_only: bool = False) -> Iterator[CachedUNet]:
    """Context manager: the generator with a cache in its U-Net."""
    before = generator.denoiser.network
    if not isinstance(before, MotionUNet):
        raise InvalidInput("checkpoint", "is not a U-Net")
    generator.denoiser.network = network = CachedUNet(before, last_only).eval()
    try:
        yield network
    finally:
        generator.denoiser.network = before


def shallow_cost(generator: GeneratorNetwork, network: CachedUNet, repeats: int = REPEATS) -> Cost:
    """Operations and time of a shallow call of the denoiser."""
    inputs = [torch.from_numpy(values) for values in sample_inputs(generator.spec.graph(DENOISER), BATCH).values()]
    operations, times = [], []
    with torch.inference_mode():
        for whole in (True, False):

            def call(first: int = 0 if whole else 1) -> None:
                network.every, network.calls = 2, first
                generator.graphs()[DENOISER](*inputs)

            with FlopCounterMode(display=False) as counter:
                call()
            operations.append(counter.get_total_flops())
            times.append(call)
        taken = np.array([[seconds(call, 1, warm_up=0)[0] for call in times] for _ in range(repeats + 1)])[1:]
    return Cost(operations[1] / operations[0], float(np.median(taken[:, 1] / taken[:, 0])))


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
