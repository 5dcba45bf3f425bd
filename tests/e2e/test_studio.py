"""The studio of a real server: a song is dropped, and the dance is seen where the motion has it.

With CHOREO_SCREENSHOTS=FOLDER the pictures of docs/studio.md are written there.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from browser import ABSENT, Browser, chromium
from painted_pose import check_pose
from PIL import Image
from served import Command, serving

from choreo.music.synth import synthesize_song, write_wav

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(ABSENT), reason=ABSENT)]

TEXT = "a dancer performs a cha-cha, with turns"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Command]:
    with serving(tmp_path_factory.mktemp("studio"), repository) as server:
        yield server


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Browser]:
    with chromium(tmp_path) as browser:
        browser.size(1280, 900)
        yield browser


def picture(page: Browser, name: str) -> None:
    """Keep what is seen, where somebody wants it."""
    shot = page.picture()
    assert shot.std() > 10
    if folder := os.environ.get("CHOREO_SCREENSHOTS"):
        Image.fromarray(shot).quantize(160).save(Path(folder) / f"{name}.png", optimize=True)


def test_a_song_is_dropped_danced_to_and_directed(server: Command, page: Browser, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    samples, rate, _ = synthesize_song(120.0, 8.0)
    write_wav(song, samples, rate)
    page.open(f"{server.url}/studio")
    page.type("#song", str(song))
    page.wait("studio.timeline.song?.peaks")
    page.type("#text_prompt", TEXT)
    page.type("#seed", "3")
    page.choose("#takes", "2")
    page.click("#generate")
    page.wait("studio.takes.list.filter((take) => take.dance).length === 2", 120)
    assert page.text("#progress").startswith("2 of 2 in ")
    beats, downbeats = page.run("return [studio.timeline.beats, studio.timeline.downbeats];")
    assert np.median(np.diff(beats)) == pytest.approx(0.5, abs=0.02)
    assert set(downbeats) <= set(beats)
    request = {"text_prompt": TEXT, "seed": "3", "preset": "fast"}
    again = httpx.post(
        f"{server.url}/v1/generate", data=request, files={"audio": song.read_bytes()}, timeout=120, trust_env=False
    )
    motion = np.array(again.json()["motion"])
    check_pose(page, motion[60], 2.0)
    check_pose(page, motion[150], 5.0)
    page.click("#joints")
    page.run("studio.player.seek(4.2);")
    page.run(
        "studio.takes.showJoints = false; document.getElementById('joints').setAttribute('aria-pressed', 'false');"
    )
    page.run("scrollTo(0, 0); studio.player.seek(4.25);")
    picture(page, "studio")
    page.run("studio.directing.addHold(60, 120); studio.player.seek(6);")
    page.click("#add-pose")
    page.run("document.getElementById('timeline').scrollIntoView({block: 'center'});")
    picture(page, "studio-directing")
    page.run("document.getElementById('takes').value = '1';")
    page.click("#generate")
    page.wait("studio.takes.list.length === 1 && studio.takes.take.dance", 120)
    kept = np.array(page.run("return studio.takes.take.dance.dancers[0];"))
    np.testing.assert_allclose(kept[60:121], motion[60:121], atol=2e-3)
    assert page.complaints() == []


def test_on_a_telephone(server: Command, page: Browser) -> None:
    page.size(380, 820)
    page.open(f"{server.url}/studio")
    page.type("#text_prompt", TEXT)
    page.type("#duration", "4")
    page.type("#seed", "3")
    page.click("#generate")
    page.wait("studio.takes.take?.dance", 120)
    page.run("studio.player.pause(); studio.player.seek(1.5); document.getElementById('viewer').scrollIntoView();")
    picture(page, "studio-narrow")
    assert page.complaints() == []
