"""The page by itself: it loads without complaints, from this server alone, small, narrow, and before any model."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from browser import Browser

from serving.http.studio import FOLDER

MAX_BYTES = 1_500_000


def test_it_loads_without_complaints_and_from_this_server_alone(studio: Any) -> None:
    page: Browser = studio.page
    page.wait("document.getElementById('model').options.length === 1")
    assert page.complaints() == []
    fetched = [url for url in page.fetched() if not url.startswith(("about:", "chrome:", "data:"))]
    assert len(fetched) > 10
    assert all(url.startswith(studio.url) for url in fetched)
    assert page.text("#server").endswith("1 model")
    assert page.text("#model") == "fake"


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < MAX_BYTES


@pytest.fixture
def models_never_come(stages: Any) -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    stages.models = never


@pytest.mark.usefixtures("models_never_come")
def test_nothing_is_waited_for_before_it_is_painted(studio: Any) -> None:
    code = """
      const done = arguments[0];
      const painted = () => performance.getEntriesByName('first-contentful-paint').length;
      const knowsServer = () => document.querySelectorAll('#preset option').length > 1;
      const look = () => painted() && knowsServer()
        ? done(document.getElementById('server').innerText) : setTimeout(look, 20);
      look();"""
    assert studio.page.ask("POST", "/execute/async", script=code, args=[]).startswith("asking")


@pytest.mark.parametrize("width", [380, 768, 1600])
def test_no_width_needs_scrolling_sideways(studio: Any, width: int) -> None:
    page: Browser = studio.page
    page.size(width, 800)
    studio.open()
    studio.generate(2, text_prompt="a waltz", duration="2")
    beyond = """
      const { scrollWidth, clientWidth } = document.documentElement;
      const isWide = (e) => e.getBoundingClientRect().right > clientWidth + 1;
      const wide = [...document.querySelectorAll('body *')].filter(isWide);
      return [scrollWidth - clientWidth, wide.map((e) => e.id || e.tagName)];"""
    assert page.run(beyond) == [0, []]
    left, _, across, tall = page.box("#stage canvas")
    assert left >= 0
    assert across > 150
    assert tall > 150


def test_what_could_be_clicked_has_a_name(studio: Any) -> None:
    studio.generate(1, text_prompt="a waltz", duration="2")
    nameless = """
      const named = (e) => e.getAttribute('aria-label') || e.innerText?.trim() || e.closest('label')?.innerText.trim();
      const all = [...document.querySelectorAll('button, input, select, textarea, canvas, a, summary')];
      return all.filter((e) => e.checkVisibility() && !named(e)).map((e) => e.outerHTML.slice(0, 80));"""
    assert studio.page.run(nameless) == []


def test_a_damaged_link_is_said_in_words(studio: Any) -> None:
    studio.open("#request=%7Bbroken")
    studio.page.wait("!document.getElementById('problem').hidden")
    assert "link is damaged" in studio.page.text("#problem")
    assert studio.page.complaints() == []


def test_a_link_holds_the_request(studio: Any, song: Path) -> None:
    page: Browser = studio.page
    page.wait("document.getElementById('model').options.length === 1")
    page.type("#text_prompt", "a slow waltz & a turn")
    page.type("#duration", "2.5")
    page.type("#seed", "7")
    page.choose("#preset", "draft")
    page.run("document.getElementById('in_place').checked = true;")
    page.click("#share")
    link = page.run("return location.href;")
    page.open("about:blank")
    page.open(link)
    values = "return args.map((id) => document.getElementById(id).value);"
    shown = page.run(values, "text_prompt", "duration", "seed", "preset")
    assert shown == ["a slow waltz & a turn", "2.5", "7", "draft"]
    page.click("#generate")
    page.wait("studio.takes.take?.dance")
    (request,) = studio.stages.requests
    assert (request.text, request.num_frames, request.seed, request.preset) == ("a slow waltz & a turn", 75, 7, "draft")
    assert request.constraints.in_place
