"""Frames that repeat earlier ones start from their noise."""

import numpy as np
import pytest

from choreo.diffusion.noise import INITIAL, gaussian, gaussian_at
from choreo.generators.base import Conditioning, GenerationRequest, Generator, Tensors, run, zeros
from choreo.generators.registry import generator
from choreo.generators.timelines import repeated_prior
from choreo.generators.windowed_spec import windowed_spec

SPEC = windowed_spec("made", family="unet", mean=(0.0,) * 66, std=(1.0,) * 66, context_dim=8, context_tokens=2)


def made(repeats: np.ndarray | None, sampler: str, frames: int = 300) -> np.ndarray:
    def evaluate(graph: str, inputs: Tensors) -> Tensors:
        """A fake network without a memory of where it is: its prediction is half of x."""
        outputs = SPEC.graph(graph).outputs
        rows = len(next(iter(inputs.values())))
        if graph == "denoiser":
            return {outputs[0].name: inputs["x"] / 2}
        return {t.name: np.zeros((rows, *t.shape), np.float32) for t in outputs}

    request = GenerationRequest(num_steps=3, sampler=sampler, seed=7)
    trajectory = generator(SPEC).begin(request, Conditioning(frames, repeats=repeats))
    run([trajectory], evaluate, lambda graph, rows: zeros(SPEC.graph(graph), rows))
    return trajectory.result()


def test_addresses_are_those_of_runs_of_frames() -> None:
    np.testing.assert_array_equal(gaussian_at(3, np.arange(5, 25), 6, INITIAL), gaussian(3, 5, 20, 6, INITIAL))
    np.testing.assert_array_equal(gaussian_at(3, np.array([9, 2]), 6, 1)[1], gaussian(3, 2, 1, 6, 1)[0])


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_repeated_frames_come_out_alike_and_all_others_stay(sampler: str) -> None:
    places = np.arange(300, dtype=np.float64)
    places[150:250] = np.arange(20.2, 120)
    plain, again = made(None, sampler), made(places, sampler)
    np.testing.assert_array_equal(again[:150], plain[:150])
    np.testing.assert_array_equal(again[250:], plain[250:])
    np.testing.assert_allclose(again[150:250], plain[20:120], atol=1e-5)
    assert np.abs(plain[150:250] - plain[20:120]).max() > 0.1
    np.testing.assert_array_equal(made(np.arange(300.0), sampler), plain)


def test_generators_say_whether_they_repeat() -> None:
    assert generator(SPEC).repeats_sections
    assert not Generator.repeats_sections


def test_priors_are_repeated_but_for_the_seams() -> None:
    prior = np.random.default_rng(0).standard_normal((120, 5)).astype(np.float32)
    places = np.arange(100, dtype=np.float64)
    places[50:80] = np.arange(10, 40)
    again = repeated_prior(prior, places)
    np.testing.assert_array_equal(again[:46], prior[:46])
    assert not again[46:54].any()
    np.testing.assert_array_equal(again[54:76], prior[14:36])
    assert not again[76:84].any()
    np.testing.assert_array_equal(again[84:], prior[84:])
    np.testing.assert_array_equal(repeated_prior(prior, np.arange(100.0)), prior)
    conditioning = Conditioning(100, repeats=places)
    request = GenerationRequest(prior=np.ones((100, 66), np.float32), prior_mask=np.ones(100, np.float32))
    timeline = generator(SPEC).timelines(request, conditioning, 120)["prior"]  # type: ignore[attr-defined]
    assert timeline[:, -1].tolist() == [1.0] * 46 + [0.0] * 8 + [1.0] * 22 + [0.0] * 8 + [1.0] * 16 + [0.0] * 20
