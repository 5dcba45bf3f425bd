"""Whether a cache of deep features pays (DeepCache, Ma et al. 2024): held-out windows danced to with and without.

Every so many steps the whole U-Net is evaluated; on those between, only its widest level is, with what the levels below
gave it last. `all but the last stage` keeps more: all that the last stage of the way up is given. A case's evaluations
are operations, counted by torch, over those of a whole one; the plain samplers beside it take about as many. Times are
of calls of both kinds in turn, on one thread. Distances are means over joints and frames, of the same noise: from the
same sampler without a cache, and from many steps of DPM-Solver++(2M), which is where all of them would go.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from bench.held_out import GUIDANCE, Dances, apart, open_windows, parser, rows_of
from bench.report import Row, say, seconds, show
from choreo.diffusion.presets import PRESETS, Preset
from choreo.errors import ChoreoError, InvalidInput
from choreo.generators.checkpoint import Generator, load_generator
from choreo.generators.spec import ModelSpec
from choreo.generators.unet.network import Downsample, MotionUNet
from choreo.training.held_out_dances import HeldOutDances
from serving.settings import Settings

EVERY: Final = (2, 3, 5)
"""Steps from one whole evaluation to the next, of DDIM; of DPM-Solver++(2M) the first alone."""
PLAIN: Final = (4, 5, 6, 8, 10, 20)
"""Steps of DPM-Solver++(2M) without a cache."""
WITH_CACHE: Final = (6, 10)
"""Those that are cached as well; the first is the preset `fast`."""
MANY: Final = 50
BATCH: Final = 16
REPEATS: Final = 15


class CachedUNet(MotionUNet):
    """A U-Net that can leave out what lies below its widest level.

    Attributes:
        every: calls from one whole evaluation to the next.
        calls: since the last dance began.
    """

    def __init__(self, network: MotionUNet, last_only: bool = False) -> None:
        """With `last_only` a shallow call evaluates no more than the last stage of the way up."""
        super().__init__(network.config)
        self.load_state_dict(network.state_dict())
        self.every, self.calls = 1, 0
        self._top = [] if last_only else list(takewhile(lambda b: not isinstance(b, Downsample), self.down))
        kept = len(self._top) + 1  # stages of the way up that these, and the input, are for
        self._rest = list(self.up)[-kept:]
        self._deep: Tensor | None = None
        # What comes into the last stages from below leaves the block before them.
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
        """The widest level around what came from below; where guidance has ended, conditional rows come first."""
        skips = [self.input_proj(h)]
        for block in self._top:
            skips.append(block(skips[-1], emb, context, context_mask, mask))
        assert self._deep is not None
        h = self._deep[: len(h)]
        for block in self._rest:
            h = block(torch.cat([h, skips.pop()], dim=1), emb, context, context_mask, mask)
        return self.output_proj(F.silu(self.norm(h)))


@dataclass(frozen=True)
class Cost:
    """Of a shallow call, as shares of a whole one's."""

    operations: float
    time: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 2 on bad input, 1 where something is missing."""
    given = sys.argv[1:] if argv is None else list(argv)
    args = parser("feature_cache", __doc__).parse_args(given)
    settings = Settings()
    try:
        generator = load_generator(args.checkpoint or settings.weights)
        held_out = open_windows(args.data, generator.spec, 6 if args.quick else args.windows, settings)
        steps, many = (6, 8) if args.quick else (PRESETS["reference"].num_steps, MANY)
        rows = list(_rows(generator, held_out, steps, many))
    except ChoreoError as error:
        say(f"choreo: {error}")
        return 2 if isinstance(error, InvalidInput) else 1
    show("feature_cache", given, rows, args.json)
    return 0


def _rows(generator: Generator, held_out: HeldOutDances, steps: int, many: int) -> Iterator[Row]:
    yield from rows_of("mocap", held_out.real)
    held_out, low = replace(held_out, guidance_scale=GUIDANCE), PRESETS["fast"].guidance_low
    path = _dances(generator, replace(held_out, way=Preset("dpm++2m", many, low)))
    ddim = f"ddim {steps}"
    ways = {ddim: Preset("ddim", steps)} | {f"dpm++2m {few}": Preset("dpm++2m", few, low) for few in PLAIN}
    whole: dict[str, Dances] = {}
    for name, way in ways.items():
        say(name)
        asked = replace(held_out, way=way)
        whole[name] = _dances(generator, asked)
        yield from _scores(name, asked.evaluations, asked, whole[name], path)
    caching = {ddim: EVERY} | {f"dpm++2m {few}": EVERY[:1] for few in WITH_CACHE}
    for last_only, name in ((False, "cache"), (True, "cache of all but the last stage")):
        with cached(generator, last_only) as network:
            cost = shallow_cost(generator, network)
            yield Row(name, "operations of a shallow call", cost.operations, "of a whole one's")
            yield Row(name, "time of a shallow call", cost.time, "of a whole one's")
            for plain, every in ((plain, every) for plain, each in caching.items() for every in each):
                case, asked = f"{plain}, {name}, {every}", replace(held_out, way=ways[plain])
                say(case)
                dances = _dances(generator, asked, every)
                yield Row(case, "from uncached", apart(dances, whole[plain]), "m")
                yield from _scores(case, _evaluations(asked, every, cost), asked, dances, path)


def _scores(name: str, evaluations: float, asked: HeldOutDances, dances: Dances, path: Dances) -> Iterator[Row]:
    yield Row(name, "evaluations", evaluations, "per window")
    yield Row(name, "from many steps", apart(dances, path), "m")
    yield from rows_of(name, asked.judged(dances))


def _evaluations(asked: HeldOutDances, every: int, cost: Cost) -> float:
    rows = np.array([asked.rows_at(int(t)) for t in asked.pairs[:, 0]])
    whole = np.arange(len(rows)) % every == 0
    return float(rows @ np.where(whole, 1.0, cost.operations))


def _dances(generator: Generator, asked: HeldOutDances, every: int = 1) -> Dances:
    network = generator.denoiser.network
    if isinstance(network, CachedUNet):
        network.every, network.calls = every, 0
    with torch.inference_mode():
        return asked.dance(generator)


@contextmanager
def cached(generator: Generator, last_only: bool = False) -> Iterator[CachedUNet]:
    """The generator with a cache in its U-Net, for a while."""
    before = generator.denoiser.network
    if not isinstance(before, MotionUNet):
        raise InvalidInput("checkpoint", "is not of a U-Net")
    generator.denoiser.network = network = CachedUNet(before, last_only).eval()
    try:
        yield network
    finally:
        generator.denoiser.network = before


def shallow_cost(generator: Generator, network: CachedUNet, repeats: int = REPEATS) -> Cost:
    """What a call of the whole denoiser takes when it is shallow."""
    inputs = _inputs(generator.spec)
    operations, times = [], []
    with torch.inference_mode():
        for whole in (True, False):

            def call(first: int = 0 if whole else 1) -> None:
                network.every, network.calls = 2, first
                generator.denoiser(*inputs)

            with FlopCounterMode(display=False) as counter:
                call()
            operations.append(counter.get_total_flops())
            times.append(call)
        taken = np.array([[seconds(call, 1, warm_up=0)[0] for call in times] for _ in range(repeats + 1)])[1:]
    return Cost(operations[1] / operations[0], float(np.median(taken[:, 1] / taken[:, 0])))


def _inputs(spec: ModelSpec) -> list[Tensor]:
    """Random rows at half noise."""
    torch.manual_seed(0)
    shapes = spec.denoiser_inputs()
    inputs = {name: torch.randn(BATCH, *shape) for name, shape in shapes.items()}
    inputs |= {name: torch.ones(BATCH, *shapes[name]) for name in ("context_mask", "frame_mask")}
    inputs["known_mask"], inputs["t"] = torch.zeros(BATCH, *shapes["known_mask"]), torch.full((BATCH, 1), 500.0)
    return list(inputs.values())


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
