"""The reverse process of one request: where predictions are given bones of full length."""

from collections.abc import Sequence

import numpy as np
import pytest

from choreo.diffusion.samplers import sampler
from choreo.diffusion.trajectory import OVERLAP, Plan, ReverseProcess
from choreo.diffusion.windows import window_starts
from choreo.generators.unet.graphs import unet_spec
from choreo.motion.representation import representation

SPEC = unet_spec("fake", context_dim=2, context_tokens=3, mean=(0.1,) * 66, std=(0.5,) * 66)
STEPS = 8


def process(starts: Sequence[int] = (0,), **plan: float) -> ReverseProcess:
    rows = len(starts) + 1
    encoded = {"context": np.zeros((rows, 3, 2), np.float32), "context_mask": np.ones((rows, 3), np.float32)}
    widths = {"prior": 67, "rhythm": 4, "known": 66, "known_mask": 66}
    timelines = {name: np.zeros((starts[-1] + SPEC.window, width), np.float32) for name, width in widths.items()}
    made = Plan(sampler=sampler("ddim"), num_steps=STEPS, **plan)  # type: ignore[arg-type]
    return ReverseProcess(SPEC, SPEC.graph("denoiser"), made, list(starts), encoded, timelines)


def timelines(some: ReverseProcess, predictions: list[np.ndarray]) -> list[np.ndarray]:
    """The timeline after each step with these predicted x0."""
    out = []
    for x0 in predictions:
        some.add(0, {"x0": x0})
        some.advance()
        out.append(some.x.copy())
    return out


def predictions() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(SPEC.window, 66)).astype(np.float32) for _ in range(STEPS)]


def with_full_bones(x0: np.ndarray) -> np.ndarray:
    return SPEC.normalize(representation(SPEC.representation).full_bones(SPEC.denormalize(x0)))


@pytest.mark.parametrize("below", [0.0, 0.3, 1.0])
def test_bones_are_full_below_a_noise_but_not_in_the_last_prediction(below: float) -> None:
    given, some = predictions(), process()
    times = []
    for x0 in given:
        times.append(some.t / 1000)
        some.add(0, {"x0": x0})
        some.advance()
    expected = [
        with_full_bones(x0) if t < below and number < STEPS - 1 else x0
        for number, (x0, t) in enumerate(zip(given, times, strict=True))
    ]
    constrained = timelines(process(full_bones_below=below), given)
    for ours, theirs in zip(constrained, timelines(process(), expected), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(constrained[-1], given[-1], atol=1e-6)


def test_the_order_in_which_windows_come_does_not_show() -> None:
    starts = window_starts(1000, SPEC.window, OVERLAP)
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(starts[-1] + SPEC.window, 66))  # windows that agree nearly, as those of a network do
    windows = [shared[s : s + SPEC.window] + 0.05 * rng.normal(size=(SPEC.window, 66)) for s in (*starts, *starts)]
    found = []
    for order in (range(len(windows)), *(rng.permutation(len(windows)) for _ in range(3))):
        some = process(starts, guidance_scale=2.5)
        assert some.rows == len(windows)
        for row in order:
            some.add(int(row), {"x0": windows[row].astype(np.float32)})
        some.advance()
        found.append(some.x.tobytes())
    assert len(set(found)) == 1
