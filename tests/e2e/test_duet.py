"""A duet generator behind a real server, next to the shipped U-Net: Triton, the scheduler and the finisher."""

import io
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from served import DANCE, Command, serving
from small_duet import couples, save_small_duet

from choreo.motion.clip import Motion
from choreo.motion.formats.npz import npz_bytes, read_performance

pytestmark = pytest.mark.e2e

LEADER = Motion(couples()[0].dancers[0][:60].astype(np.float32))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Command]:
    folder = tmp_path_factory.mktemp("duet")
    checkpoint = save_small_duet(folder / "small-duet")
    shutil.copytree(repository, folder / "models")
    with serving(folder, folder / "models", models=("unet-small", str(checkpoint))) as command:
        yield command


def duet(server: Command, **fields: str) -> httpx.Response:
    files = {"leader": ("leader.npz", npz_bytes(LEADER))}
    data = {"model": "small-duet", "format": "npz", "seed": "5"} | fields
    return httpx.post(f"{server.url}/v1/generate", data=data, files=files, timeout=240, trust_env=False)


def test_two_dancers_come_back(server: Command) -> None:
    answer = duet(server)
    assert answer.status_code == 200, answer.text
    both = read_performance(io.BytesIO(answer.content).getvalue())
    assert both.names == ("leader", "follower")
    assert both.num_frames == 60
    np.testing.assert_allclose(both.positions[0], LEADER.positions, atol=5e-3)


def test_it_is_a_function_of_its_seed_whoever_shares_its_calls(server: Command) -> None:
    alone = duet(server).content
    with ThreadPoolExecutor(4) as pool:
        solo = pool.submit(server.dance)
        duets = [pool.submit(duet, server) for _ in range(3)]
        assert solo.result().status_code == 200
        for answer in duets:
            again, first = (read_performance(body).positions for body in (answer.result().content, alone))
            np.testing.assert_allclose(again, first, atol=1e-3)


def test_models_say_who_can_follow(server: Command) -> None:
    answer = duet(server, model="unet-small")
    assert answer.status_code == 422
    assert "small-duet" in answer.json()["detail"]
    answer = httpx.post(f"{server.url}/v1/generate", json=DANCE | {"model": "small-duet"}, timeout=60, trust_env=False)
    assert answer.status_code == 422
    assert answer.json()["field"] == "leader"
