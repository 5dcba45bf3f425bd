"""Prompts: what may pass and what may not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.errors import InvalidInput
from choreo.text.prompts import check_text


@pytest.mark.parametrize(
    "text", ["a slow waltz", "  spins\n twice\t", "bailar una rumba", "踊る人", "dance 💃🏽", "x" * 1000]
)
def test_prompts_pass_stripped(text: str) -> None:
    assert check_text(text) == text.strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" \n\t\u3000", "empty"),
        ("a\0b", r"U\+0000"),
        ("a\x1b[31mb", r"U\+001B"),
        ("a\x85b", r"U\+0085"),
        ("a\ud800b", r"U\+D800"),
        ("x" * 1001, "at most 1000"),
        (" " * 10**6, "at most 1000"),
        (None, "must be text"),
        (b"waltz", "must be text"),
        (["waltz"], "must be text"),
    ],
)
def test_others_are_refused_naming_the_field(text: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        check_text(text, field="caption")
    assert caught.value.field == "caption"


@given(st.text(max_size=60))
def test_whatever_passes_can_be_sent_and_checked_again(text: str) -> None:
    try:
        checked = check_text(text, max_chars=50)
    except InvalidInput:
        return
    assert checked.encode()
    assert check_text(checked, max_chars=50) == checked
