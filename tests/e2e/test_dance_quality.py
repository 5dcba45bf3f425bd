"""The shipped checkpoint through a real Triton: the figure stands, moves, and listens to song, text and seed."""

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests_data import data_pack

from choreo.data.datasets import open_dataset
from choreo.evaluation.kinematics import bone_length_deviation, kinetic_energy
from choreo.motion.clip import Motion
from choreo.motion.representation import decode
from choreo.motion.skeleton import FPS, L_FOOT, R_FOOT
from choreo.music.synth import synthesize_song, write_wav
from export.build import build_repository
from serving.engines.base import Engine
from serving.engines.local import LocalEngine
from serving.engines.triton import TritonEngine
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.results import Result
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline
from serving.triton.launch import TritonSettings
from serving.triton.metrics import counted_rows
from serving.triton.supervisor import TritonServer

pytestmark = pytest.mark.e2e

MOCAP_ENERGY = 0.54
"""Mean kinetic energy per joint and unit mass of the mocap, (m/s)^2; `test_the_mocap_energy` measures it."""
PROMPTS = ("a dancer performs a cha-cha", "a person dances a waltz", "salsa dance", "a person dances a tango")


class Real:
    """Generates with retrieval off through Triton, or in process."""

    def __init__(self, server: TritonServer, repository: Path, songs: dict[str, bytes]) -> None:
        self.server, self.repository, self.songs = server, repository, songs
        self.results: dict[tuple[Any, ...], Result] = {}

    def dance(self, text: str | None, song: str | None, seed: int, in_process: bool = False, **fields: Any) -> Result:
        key = (text, song, seed, in_process, *sorted(fields.items()))
        if key not in self.results:
            self.results[key] = asyncio.run(self._run(text, song, seed, in_process, fields))
        return self.results[key]

    async def _run(
        self, text: str | None, song: str | None, seed: int, in_process: bool, fields: dict[str, Any]
    ) -> Result:
        engine = LocalEngine(self.repository) if in_process else TritonEngine([self.server.grpc_url])
        values = {"seed": seed, "text_prompt": text} | fields
        (result,) = await self.together([(values, song)], engine, Settings())
        return result

    async def together(
        self, wanted: Sequence[tuple[dict[str, Any], str | None]], engine: Engine, settings: Settings
    ) -> list[Result]:
        """Dances to fields and songs, all at a time; the engine is closed after them."""
        plain = {"use_rag": False, "duration": 196 / 30}
        requests = [
            validated_request(parse_fields(plain | fields), Attachments(audio=self.songs.get(song or "")), settings)
            for fields, song in wanted
        ]
        try:
            async with LocalPipeline(settings, engine=engine) as pipeline:
                return await asyncio.gather(*map(pipeline.run, requests))
        finally:
            await engine.close()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    settings = Settings()
    build_repository(settings.weights, settings.model_repo)
    songs = {}
    for style, tempo in (("house", 124.0), ("waltz", 96.0)):
        path = tmp_path_factory.mktemp("songs") / f"{style}.wav"
        samples, rate, _ = synthesize_song(tempo, 7.0, style=style)
        write_wav(path, samples, rate)
        songs[style] = path.read_bytes()
    with TritonServer(settings.model_repo, TritonSettings()) as server:
        yield Real(server, settings.model_repo, songs)


def apart(a: Result, b: Result) -> float:
    """Mean distance between the joints of two motions, metres."""
    return float(np.linalg.norm(a.motion.positions - b.motion.positions, axis=-1).mean())


def energy(motion: Motion) -> float:
    return kinetic_energy(motion.positions, motion.fps)


def test_feet_stand_on_the_floor_and_bones_keep_their_length(real: Real) -> None:
    for prompt in PROMPTS:
        positions = real.dance(prompt, "house", 3).motion.positions
        lowest = positions[:, [L_FOOT, R_FOOT], 1].min(axis=1)
        assert lowest.min() > -0.03
        assert np.percentile(lowest, 10) < 0.05
        assert bone_length_deviation(positions) < 1e-5


def test_dancers_move_about_as_much_as_people_do(real: Real) -> None:
    mean = np.mean([energy(real.dance(prompt, "house", 3).motion) for prompt in PROMPTS])
    assert 0.3 * MOCAP_ENERGY < mean < 3 * MOCAP_ENERGY


@pytest.mark.parametrize(
    "other",
    [("a dancer performs a cha-cha", "waltz", 3), ("a person dances a waltz", "house", 3), (PROMPTS[0], "house", 4)],
    ids=["song", "text", "seed"],
)
def test_song_text_and_seed_each_change_the_dance(real: Real, other: tuple[str, str, int]) -> None:
    assert apart(real.dance(PROMPTS[0], "house", 3), real.dance(*other)) >= 0.03


def test_the_same_request_gives_the_same_dance_in_process_and_through_triton(real: Real) -> None:
    served = real.dance(PROMPTS[0], "house", 3)
    local = real.dance(PROMPTS[0], "house", 3, in_process=True)
    assert np.abs(served.before_lock - local.before_lock).max() <= 1e-3


def test_it_makes_no_difference_which_requests_share_a_batch(real: Real) -> None:
    """Requests of different lengths, steps, samplers and scales together in step batches, and each on its own."""
    requests = [
        ({"text_prompt": PROMPTS[0], "seed": 3, "num_steps": 8}, "house"),
        ({"text_prompt": PROMPTS[1], "seed": 4, "num_steps": 5, "duration": 11.0}, "waltz"),
        ({"text_prompt": PROMPTS[2], "seed": 5, "num_steps": 11, "guidance_scale": 1.0, "sampler": "ddpm"}, None),
        ({"text_prompt": PROMPTS[3], "seed": 6, "num_steps": 6, "sampler": "dpm++2m"}, "house"),
    ]
    url, repository = real.server.grpc_url, real.repository
    together = asyncio.run(real.together(requests, TritonEngine([url]), Settings(step_batch_rows=8)))
    alone = asyncio.run(real.together(requests, TritonEngine([url]), Settings(executor="requests")))
    here = asyncio.run(real.together(requests, LocalEngine(repository), Settings()))
    for one, two, three in zip(together, alone, here, strict=True):
        assert np.abs(one.before_lock - two.before_lock).max() <= 1e-3
        assert np.abs(one.before_lock - three.before_lock).max() <= 1e-3
        assert one.rows["denoiser"] == two.rows["denoiser"] == three.rows["denoiser"]


def test_triton_counts_exactly_the_rows_that_were_sent(real: Real) -> None:
    with counted_rows(real.server) as counted:
        result = asyncio.run(real._run(PROMPTS[1], None, 9, False, {"num_steps": 7}))
        assert counted("unet-small", result.rows) == result.rows == {"conditioner": 2, "denoiser": 14}


def test_a_triton_that_dies_in_the_middle_costs_nobody_a_dance(real: Real) -> None:
    requests = [({"text_prompt": PROMPTS[i], "seed": i, "num_steps": 6 + i}, "house" if i else None) for i in range(3)]
    url, before = real.server.grpc_url, real.server.restarts
    expected = asyncio.run(real.together(requests, TritonEngine([url]), Settings()))

    async def interrupted() -> list[Result]:
        # Patient, because a busy machine starts servers slowly.
        dances = asyncio.create_task(real.together(requests, TritonEngine([url], rounds=60), Settings()))
        watching = TritonEngine([url])
        done = (await watching.statistics())["unet-small.denoiser"]
        while (await watching.statistics())["unet-small.denoiser"] < done + 6:
            assert not dances.done()
            await asyncio.sleep(0.01)
        assert real.server.pid is not None
        os.kill(real.server.pid, signal.SIGKILL)
        await watching.close()
        return await dances

    for one, two in zip(asyncio.run(interrupted()), expected, strict=True):
        assert np.abs(one.before_lock - two.before_lock).max() <= 1e-3
    assert real.server.restarts == before + 1


RAW = {"smooth": False, "bone_lengths": False, "foot_lock": False, "preset": "fast"}


def at_borders(positions: np.ndarray) -> tuple[float, float]:
    """Mean speed and mean acceleration of the joints around the borders of windows, over those elsewhere.

    A window begins and the one before begins to fade every 132 frames, and has faded 64 frames later.
    """
    speed = np.linalg.norm(np.diff(positions, axis=0), axis=-1).mean(axis=1)
    acceleration = np.linalg.norm(np.diff(positions, n=2, axis=0), axis=-1).mean(axis=1)
    begin = np.arange(132, len(positions) - 64, 132)
    frames = (np.concatenate([begin, begin + 64])[:, None] + np.arange(-3, 2)).ravel()

    def ratio(values: np.ndarray) -> float:
        there = np.isin(np.arange(len(values)), frames)
        return float(values[there].mean() / values[~there].mean())

    return ratio(speed), ratio(acceleration)


def test_long_dances_move_at_the_borders_of_windows_as_they_do_elsewhere(real: Real) -> None:
    found = []
    for seed, prompt in enumerate(PROMPTS):
        found.append(at_borders(real.dance(prompt, None, seed, in_process=True, duration=40.0, **RAW).motion.positions))
    speed, acceleration = np.mean(found, axis=0)
    assert 0.8 < speed < 1.25
    assert 0.75 < acceleration < 1.33


def test_windows_that_were_only_laid_end_to_end_would_be_found_out(real: Real) -> None:
    one = [real.dance(PROMPTS[0], None, seed, in_process=True, **RAW).motion.positions for seed in range(4)]
    laid = np.concatenate([part[:132] for part in one] + [one[0][:66]])
    assert at_borders(laid)[1] > 1.5


@pytest.mark.data
def test_the_mocap_energy() -> None:
    clips = [(c.num_frames, kinetic_energy(decode(c.features), FPS)) for c in open_dataset(data_pack())]
    mean = sum(frames * value for frames, value in clips) / sum(frames for frames, _ in clips)
    assert mean == pytest.approx(MOCAP_ENERGY, rel=0.05)
