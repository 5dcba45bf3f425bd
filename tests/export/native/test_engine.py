"""The compiled engine against torch, on whole denoisers."""

import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_engine import build_denoiser, needs_compiler, small_denoiser, some_inputs, torch_rows

from choreo.diffusion.parameters import DiffusionParameters
from choreo.diffusion.schedule import Prediction
from choreo.generators.checkpoint import load_generator
from export.native import loader
from export.native.loader import NativeSession

pytestmark = needs_compiler

SHIPPED = Path(__file__).parents[3] / "weights" / "unet-small"
ROWS = (1, 2, 5, 33)
CLOSE = 2e-5

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "two levels": {},
    "one level": {"channel_mult": (1,), "attention_resolutions": ()},
    "three levels": {"channel_mult": (1, 2, 3), "num_res_blocks": 2, "attention_resolutions": (2, 4)},
    "patches": {"patch_frames": 4, "attention_resolutions": (4, 8)},
    "padding of frames": {"window": 21, "channel_mult": (1, 1, 1), "attention_resolutions": (2, 4)},
    "odd window": {"window": 19, "channels": 33},
    "five taps": {"kernel_size": 5},
    "one tap": {"kernel_size": 1},
    "widths of no whole vectors": {"model_channels": 20, "num_heads": 1, "num_groups": 5},
    "wide heads": {"model_channels": 96, "num_heads": 2, "window": 64},
    "noise": {"prediction": Prediction.EPS},
}


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    denoiser, spec = small_denoiser(**CONFIGURATIONS[request.param])
    folder = tmp_path_factory.mktemp("native")
    build_denoiser(denoiser, spec, folder)
    return denoiser, spec, NativeSession(folder)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Any:
    generator = load_generator(SHIPPED)
    folder = tmp_path_factory.mktemp("native")
    package = build_denoiser(generator.denoiser, generator.spec, folder)
    assert max(package.parity.values()) < CLOSE
    return generator.denoiser, generator.spec, folder


def evaluate(session: NativeSession, inputs: dict[str, np.ndarray]) -> np.ndarray:
    (out,) = session.run(None, inputs)
    return out


@pytest.mark.parametrize("rows", ROWS)
def test_small_networks_agree_with_torch(small: Any, rows: int) -> None:
    denoiser, spec, session = small
    inputs = some_inputs(spec, rows, seed=rows)
    expected = torch_rows(denoiser, inputs)
    np.testing.assert_allclose(evaluate(session, inputs), expected, atol=CLOSE * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("rows", ROWS)
def test_the_shipped_network_agrees_with_torch(shipped: Any, rows: int) -> None:
    denoiser, spec, folder = shipped
    inputs = some_inputs(spec, rows, seed=rows)
    expected = torch_rows(denoiser, inputs)
    np.testing.assert_allclose(
        evaluate(NativeSession(folder), inputs), expected, rtol=0, atol=CLOSE * max(1, np.abs(expected).max())
    )


MASKS: dict[str, dict[str, Any]] = {
    "short": {"frame_mask": lambda m: np.arange(m.shape[1])[None] < np.array([[3], [50], [196], [1]])},
    "no frames": {"frame_mask": np.zeros_like},
    "no tokens": {"context_mask": np.zeros_like},
    "all there": {"frame_mask": np.ones_like, "context_mask": np.ones_like},
    "all known": {"known_mask": np.ones_like},
    "first frames known": {"known_mask": lambda m: np.broadcast_to(np.arange(m.shape[1])[:, None] < 30, m.shape)},
    "nothing given": dict.fromkeys(("known_mask", "known", "prior", "rhythm", "context_mask"), np.zeros_like),
    "least noise": {"t": np.zeros_like},
    "most noise": {"t": lambda t: np.full_like(t, 999)},
}


@pytest.mark.parametrize("case", MASKS)
def test_masks_of_all_kinds(shipped: Any, case: str) -> None:
    denoiser, spec, folder = shipped
    inputs = some_inputs(spec, 4, **MASKS[case])
    expected = torch_rows(denoiser, inputs)
    np.testing.assert_allclose(
        evaluate(NativeSession(folder), inputs), expected, rtol=0, atol=CLOSE * max(1, np.abs(expected).max())
    )


def test_a_row_is_independent_of_batch_composition(small: Any) -> None:
    _, spec, session = small
    inputs = some_inputs(spec, 70)
    together = evaluate(session, inputs)
    for row in (0, 13, 63, 64, 69):
        assert np.array_equal(evaluate(session, {k: v[row : row + 1] for k, v in inputs.items()})[0], together[row])


def test_rows_without_known_frames_or_prior(shipped: Any) -> None:
    """Parts of the first layer are skipped if their inputs are zero."""
    denoiser, spec, folder = shipped
    session, inputs = NativeSession(folder), some_inputs(spec, 8)
    inputs["known_mask"][[0, 1, 4]] = 0
    inputs["prior"][[1, 2, 4]] = 0
    inputs["prior"][4] = -0.0
    inputs["prior"][5, ..., -1] = 0
    inputs["known_mask"][6] = 0
    inputs["known_mask"][6, -1, -1] = 1
    out = evaluate(session, inputs)
    expected = torch_rows(denoiser, inputs)
    np.testing.assert_allclose(out, expected, rtol=0, atol=CLOSE * max(1, np.abs(expected).max()))
    for row in range(8):
        assert np.array_equal(evaluate(session, {k: v[row : row + 1] for k, v in inputs.items()})[0], out[row])


def test_cached_contexts_change_nothing(shipped: Any) -> None:
    _, spec, folder = shipped
    inputs = some_inputs(spec, 40)
    inputs["context"][7] = inputs["context"][3]
    fresh, used = NativeSession(folder), NativeSession(folder)
    for seed in range(3):  # more contexts than are cached
        evaluate(used, some_inputs(spec, 40, seed=100 + seed))
    first = evaluate(used, inputs)
    assert np.array_equal(first, evaluate(used, inputs))
    assert np.array_equal(first, evaluate(fresh, inputs))
    # One row has another context.
    other = inputs | {"context": inputs["context"].copy()}
    other["context"][0] += 1
    changed = evaluate(used, other)
    assert not np.array_equal(changed[0], first[0])
    assert np.array_equal(changed[1:], first[1:])


@pytest.mark.parametrize("name", ["x", "t", "context", "context_mask", "prior", "known_mask", "rhythm", "frame_mask"])
def test_nan_stays_in_its_row(shipped: Any, name: str) -> None:
    _, spec, folder = shipped
    session, inputs = NativeSession(folder), some_inputs(spec, 5, frame_mask=np.ones_like, known_mask=np.zeros_like)
    clean = evaluate(session, inputs)
    bad = inputs | {name: inputs[name].copy()}
    bad[name][2] = np.frombuffer(b"\xff\xff\xff\x7f", np.float32)[0]  # every bit of a NaN
    out = evaluate(session, bad)
    assert np.isnan(out[2]).any()
    assert np.array_equal(np.delete(out, 2, 0), np.delete(clean, 2, 0))
    assert np.array_equal(evaluate(session, inputs), clean)


@pytest.mark.parametrize("t", [-5.0, 1e9, np.inf, -np.inf])
def test_timesteps_are_clamped_to_their_range(shipped: Any, t: float) -> None:
    _, spec, folder = shipped
    session, inputs = NativeSession(folder), some_inputs(spec, 2)
    last = DiffusionParameters.of(spec).num_train_timesteps - 1
    held = inputs | {"t": np.full((2, 1), 0 if t < 0 else last, np.float32)}
    assert np.array_equal(evaluate(session, inputs | {"t": np.full((2, 1), t, np.float32)}), evaluate(session, held))


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_concurrent_calls_share_the_workers(shipped: Any, threads: int) -> None:
    _, spec, folder = shipped
    one, session = NativeSession(folder, threads=1), NativeSession(folder, threads)
    cases = [some_inputs(spec, rows, seed=rows) for rows in (3, 1, 14)]
    expected = [evaluate(one, inputs) for inputs in cases]
    with ThreadPoolExecutor(4) as pool:
        work = [i for _ in range(4) for i in range(3)]
        for i, out in zip(work, pool.map(lambda i: evaluate(session, cases[i]), work), strict=True):
            assert np.array_equal(out, expected[i])
    session.close()
    with pytest.raises(RuntimeError, match="closed"):
        evaluate(session, cases[0])


@pytest.mark.parametrize("threads", [-1, 1025])
def test_numbers_of_workers_are_checked(shipped: Any, threads: int) -> None:
    with pytest.raises(loader.NativeUnavailable, match="number of workers"):
        NativeSession(shipped[2], threads)


def test_a_profile_has_all_operators(shipped: Any) -> None:
    _, spec, folder = shipped
    session, inputs = NativeSession(folder, threads=2), some_inputs(spec, 8)
    session.profile()
    evaluate(session, inputs)
    first, second = session.profile(), session.profile()
    assert {name for name, _ in first} >= {"embedding", "product", "convolution", "restore_known_frames"}
    assert sum(seconds for _, seconds in first) > 0 == sum(seconds for _, seconds in second)


def test_inputs_are_checked(shipped: Any) -> None:
    _, spec, folder = shipped
    session, inputs = NativeSession(folder), some_inputs(spec, 2)
    for broken in (
        {k: v for k, v in inputs.items() if k != "prior"},
        inputs | {"x": inputs["x"][:1]},
        inputs | {"context": inputs["context"][:, :-1]},
        {},
    ):
        with pytest.raises(ValueError, match="inputs must be"):
            session.run(None, broken)
    with pytest.raises(ValueError, match="only output"):
        session.run(["eps"], inputs)
    assert evaluate(session, {k: v[:0] for k, v in inputs.items()}).shape == (0, spec.window, spec.channels)
    doubled = {k: np.repeat(v.astype(np.float64), 2, 0)[::2] for k, v in inputs.items()}
    assert np.array_equal(evaluate(session, doubled), evaluate(session, inputs))


def test_the_gaussian_model_rounds_as_in_torch(tmp_path: Path) -> None:
    """Directions with almost no variance at the lowest noise, where 1 - abar nearly cancels."""
    denoiser, spec = small_denoiser()
    denoiser.gaussian.variances.fill_(1e-7)
    build_denoiser(denoiser, spec, tmp_path)
    inputs = some_inputs(spec, 3, t=np.zeros_like)
    expected = torch_rows(denoiser, inputs)
    np.testing.assert_allclose(evaluate(NativeSession(tmp_path), inputs), expected, atol=1e-6)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of other processors")
@pytest.mark.parametrize(("processor", "flag"), [("x86-64", None), ("x86-64-v3", "avx2"), ("x86-64-v4", "avx512f")])
def test_lesser_processors(tmp_path: Path, processor: str, flag: str | None) -> None:
    if flag is not None and flag not in loader.cpu_flags():
        pytest.skip(f"this machine has no {flag}")
    for changes in (CONFIGURATIONS["two levels"], CONFIGURATIONS["wide heads"]):
        denoiser, spec = small_denoiser(**changes)
        build_denoiser(denoiser, spec, tmp_path, processor)
        inputs = some_inputs(spec, 5)
        expected = torch_rows(denoiser, inputs)
        np.testing.assert_allclose(
            evaluate(NativeSession(tmp_path), inputs), expected, atol=CLOSE * np.abs(expected).max()
        )
