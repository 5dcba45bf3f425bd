"""Dances on the stage: figure and song at the same time, and every joint where the motion has it."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from browser import Browser
from painted_pose import check_pose


def test_the_painted_pose_is_that_of_the_motion(studio: Any) -> None:
    studio.generate(1, text_prompt="a waltz", duration="2", seed="5")
    request = {"text_prompt": "a waltz", "duration": 2, "seed": 5, "preset": "fast"}
    motion = np.array(httpx.post(f"{studio.url}/v1/generate", json=request, trust_env=False).json()["motion"])
    check_pose(studio.page, motion[15], 0.5)
    studio.page.run("studio.camera.turn(0.7, 0.3); studio.camera.zoom(0.8);")
    check_pose(studio.page, motion[30], 1.0)


def test_song_and_dance_have_one_clock(studio: Any, song: Path) -> None:
    page: Browser = studio.page
    page.type("#song", str(song))
    page.wait("studio.timeline.song?.peaks")
    assert page.text("#song-name") == "song.wav"
    studio.generate(1)
    assert studio.stages.requests[0].audio == song.read_bytes()
    page.wait("studio.player.playing && studio.player.time > 0.3")
    apart = page.run("return Math.abs(studio.player.time - studio.timeline.song.audio.currentTime);")
    assert apart < 0.02
    page.click("#play")
    state = "return [studio.player.playing, studio.timeline.song.audio.paused];"
    assert page.run(state) == [False, True]
    page.run("studio.player.seek(1.25);")
    assert page.run("return studio.timeline.song.audio.currentTime;") == pytest.approx(1.25, abs=0.01)
    page.choose("#rate", "0.5")
    assert page.run("return studio.timeline.song.audio.playbackRate;") == 0.5


def test_it_plays_in_a_loop_or_to_the_end(studio: Any) -> None:
    page: Browser = studio.page
    studio.generate(1, text_prompt="a waltz", duration="2")
    page.run("studio.player.pause(); studio.player.seek(1.95); studio.player.play();")
    page.wait("studio.player.playing && studio.player.time < 1")
    page.click("#loop")
    page.run("studio.player.seek(1.95); studio.player.play();")
    page.wait("!studio.player.playing")
    assert page.run("return studio.player.time;") == pytest.approx(2.0)
    assert page.text("#time") == "0:02.00 / 0:02.00"


def test_scrubbing_on_the_timeline(studio: Any) -> None:
    page: Browser = studio.page
    studio.generate(1, text_prompt="a waltz", duration="2")
    page.run("studio.player.pause(); document.getElementById('wave').scrollIntoView({block: 'center'});")
    left, top, width, height = page.box("#wave")
    page.drag((left + 10, top + height / 2), (left + width / 2, top + height / 2))
    assert page.run("return studio.player.time;") == pytest.approx(1.0, abs=0.02)


def test_seeds_side_by_side(studio: Any) -> None:
    page: Browser = studio.page
    studio.generate(3, text_prompt="a waltz", duration="2", seed="9223372036854775800")
    assert sorted(request.seed for request in studio.stages.requests) == [2**63 - 8 + i for i in range(3)]
    boxes = [page.box(f"#stage figure:nth-child({i})") for i in (1, 2, 3)]
    assert len({top for _, top, _, _ in boxes}) == 1
    page.press("3")
    assert page.run("return [studio.takes.chosen, studio.takes.take.seed];") == [2, "9223372036854775802"]


def test_everything_by_keyboard(studio: Any) -> None:
    page: Browser = studio.page
    page.run("document.getElementById('text_prompt').focus();")
    page.press(*"a waltz")
    page.press("Tab", "Tab", "Tab", "2", "Tab", "4")
    reached = "return document.activeElement.id;"
    assert page.run(reached) == "seed"
    page.press("Enter")
    page.wait("studio.takes.take?.dance")
    assert (studio.stages.requests[0].text, studio.stages.requests[0].num_frames) == ("a waltz", 60)
    page.run("document.activeElement.blur(); studio.player.pause(); studio.player.seek(0);")
    now = "return studio.player.time;"
    page.press("Right", "Right", "Right")
    assert page.run(now) == pytest.approx(0.1)
    page.press("Shift+Right")
    assert page.run(now) == pytest.approx(1.1)
    page.press("Left")
    assert page.run(now) == pytest.approx(1.1 - 1 / 30)
    page.press("End")
    assert page.run(now) == pytest.approx(2)
    page.press("Home", "Space")
    assert page.run("return studio.player.playing;")
    page.press("Space")
    assert not page.run("return studio.player.playing;")
    page.press("l", "j")
    assert page.run("return [studio.player.loop, studio.takes.showJoints];") == [False, True]
    page.run("document.querySelector('#stage canvas').focus();")
    before = page.run("return studio.camera.yaw;")
    page.press("Right")
    assert page.run("return studio.camera.yaw;") > before
