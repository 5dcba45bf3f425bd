"""What goes wrong is said in words, beside what it is about."""

from typing import Any

import pytest
from browser import Browser

from choreo.errors import BackendUnavailable

KEY = "a-long-key-for-the-studio"
KEYS = f'{{"keys": [{{"name": "anna", "key": "{KEY}"}}]}}'


def said(studio: Any) -> str:
    page: Browser = studio.page
    page.wait("!document.getElementById('problem').hidden")
    return page.text("#problem p")


def test_a_refused_field_is_named_and_found(studio: Any) -> None:
    page: Browser = studio.page
    page.type("#text_prompt", "a waltz")
    page.type("#duration", "many")
    page.click("#generate")
    assert said(studio).startswith("Seconds: must be a number, got 'many'")
    marked = "return [...document.querySelectorAll('[aria-invalid]')].map((e) => e.id);"
    assert page.run(marked) == ["duration"]
    assert page.run("return document.activeElement.id;") == "duration"
    page.click("#problem button")
    assert page.run("return document.getElementById('problem').hidden;")
    assert page.run(marked) == []


def test_nothing_to_dance_to(studio: Any) -> None:
    studio.page.click("#generate")
    assert "text_prompt" in said(studio) or "prompt" in said(studio)


def test_a_model_that_is_away(studio: Any) -> None:
    async def fail(request: Any) -> None:
        raise BackendUnavailable("the denoiser is being restarted")

    studio.stages.action = fail
    page: Browser = studio.page
    page.type("#text_prompt", "a waltz")
    page.run("document.getElementById('duration').value = '2';")
    page.click("#generate")
    assert "not ready" in said(studio)
    assert page.text("figcaption").endswith("failed")


def test_a_server_that_is_gone(studio: Any) -> None:
    page: Browser = studio.page
    page.wait("document.getElementById('model').options.length === 1")
    page.offline(True)
    try:
        page.type("#text_prompt", "a waltz")
        page.click("#generate")
        assert said(studio) == "The server does not answer. Is it running? Try again in a moment."
    finally:
        page.offline(False)


@pytest.mark.parametrize("settings", [{"api_keys": KEYS}])
def test_a_server_with_keys(studio: Any) -> None:
    page: Browser = studio.page
    page.wait("document.getElementById('server').innerText.includes('needs an API key')")
    assert page.complaints() == []
    page.type("#text_prompt", "a waltz")
    page.click("#generate")
    assert said(studio).startswith("This server needs an API key")
    assert page.run("return document.activeElement.id;") == "key"
    page.type("#key", KEY)
    page.press("Tab")
    page.wait("document.getElementById('model').options[0].value === 'fake'")
    studio.generate(1, duration="2")
    assert page.run("return document.getElementById('problem').hidden;")


def test_without_keys_none_is_asked_for(studio: Any) -> None:
    studio.page.wait("document.getElementById('model').options.length === 1")
    assert studio.page.run("return document.querySelector('.key').checkVisibility();") is False
