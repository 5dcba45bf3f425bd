"""Holds and key poses by dragging, downloads, phrases and jobs."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser
from waiting import wait_until

from choreo.motion.formats.formats import FORMATS


def lane(page: Browser, name: str) -> tuple[float, float, float, float]:
    page.run("document.getElementById(args[0]).scrollIntoView({block: 'center'});", name)
    return page.box(f"#{name}")


@pytest.fixture
def dance(studio: Any) -> Any:
    """Two seconds on the stage, paused."""
    studio.generate(1, text_prompt="a waltz", duration="2", seed="5")
    studio.page.run("studio.player.pause(); studio.player.seek(0);")
    studio.stages.requests.clear()
    return studio


def test_a_span_is_held_by_dragging_and_danced_around(dance: Any) -> None:
    page: Browser = dance.page
    left, top, width, height = lane(page, "holds")
    page.drag((left + width * 0.25, top + height / 2), (left + width * 0.5, top + height / 2))
    first, last = page.run("const [h] = studio.directing.holds; return [h.first, h.last];")
    assert abs(first - 15) <= 1
    assert abs(last - 33) <= 2
    page.press("Right", "Shift+Left")
    assert page.run("const [h] = studio.directing.holds; return [h.first, h.last];") == [first + 3, last]
    left, top, width, height = page.box(".hold")
    page.drag((left + width / 2, top + 5), (left + width / 2 + 40, top + 5))
    moved, end = page.run("const [h] = studio.directing.holds; return [h.first, h.last];")
    assert moved > first + 3
    assert end - moved == last - first - 3
    dance.generate(1, seed="6")
    (request,) = dance.stages.requests
    assert request.constraints.hold == ((moved, end),)
    shown = np.array(page.run("return studio.directing.source.dance.dancers[0];"))
    np.testing.assert_allclose(request.constraints.clip.positions, shown, atol=1e-4)
    page.run("document.querySelector('.hold').focus();")
    page.press("Delete")
    assert page.run("return studio.directing.constraints() ?? null;") is None


def test_a_pose_is_kept_and_dragged(dance: Any) -> None:
    page: Browser = dance.page
    page.run("studio.player.seek(0.5);")
    page.press("k")
    assert page.run("return studio.directing.poses.map((item) => item.frame);") == [15]
    lane(page, "poses")
    left, top, width, height = page.box(".pose")
    page.drag((left + width / 2, top + height / 2), (left + width / 2 + page.box("#poses")[2] / 4, top + height / 2))
    (frame,) = page.run("return studio.directing.poses.map((item) => item.frame);")
    assert abs(frame - 30) <= 1
    dance.generate(1)
    (pose,) = dance.stages.requests[0].constraints.key_poses
    assert pose.frame == frame
    page.click("#clear")
    assert page.run("return studio.directing.empty;")


def test_downloads_in_every_format(dance: Any) -> None:
    page: Browser = dance.page
    assert page.text("#downloads").split() == [fmt.name for fmt in FORMATS]
    for index, fmt in enumerate(FORMATS, 1):
        if fmt.needs_blender:  # which need not be here
            continue
        page.click(f"#downloads button:nth-child({index})")
        path = page.downloads / f"motion-5{fmt.suffix}"
        wait_until(path.is_file, 60)
    motion = json.loads((page.downloads / "motion-5.json").read_bytes())["motion"]
    with np.load(io.BytesIO((page.downloads / "motion-5.npz").read_bytes())) as archive:
        np.testing.assert_allclose(archive["positions"], motion, atol=1e-4)
    assert (page.downloads / "motion-5.mp4").read_bytes() == b"film"
    for path in page.downloads.iterdir():
        path.unlink()


def test_phrases_are_listed_with_their_share(studio: Any) -> None:
    from serving.pipeline.phrases import Prior, UsedPhrase

    phrase = UsedPhrase("p1", 0.9, 0.8, 0.75, "take 7", 3.5, "waltz", "a <b>turn</b>", "CC0-1.0")
    prior = Prior(np.zeros((60, 66), np.float32), np.ones(60, np.float32), [phrase])
    studio.stages.retrieved = replace(studio.stages.retrieved, prior=prior, reason="")
    studio.generate(1, text_prompt="a waltz", duration="2")
    said = studio.page.text("#phrases")
    assert "a <b>turn</b>" in said
    assert "75 % · waltz · take 7 at 3.5 s · CC0-1.0" in said


def test_without_phrases_the_reason_is_said(dance: Any) -> None:
    assert dance.page.text("#phrases") == "None: there is no phrase library."


def test_a_job_is_sent_watched_opened_and_forgotten(studio: Any, song: Path) -> None:
    page: Browser = studio.page
    page.type("#song", str(song))
    page.run("document.getElementById('seed').value = '11';")
    page.click("#submit-job")
    page.wait("document.getElementById('jobs').innerText.includes('succeeded')")
    page.click('#jobs button[aria-label^="Open"]')
    page.wait("studio.takes.take?.dance")
    assert page.text("figcaption").startswith("seed 11 · fake · from a job")
    page.click('#jobs button[aria-label^="Forget"]')
    page.wait("document.getElementById('jobs').innerText === 'None.'")
