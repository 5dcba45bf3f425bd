"""JSON bodies: what is large is base64 and is decoded in steps; everything else is small before it is parsed."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.errors import InvalidInput
from serving.http import json_body
from serving.http.json_body import LONG_BYTES, MAX_LONG, PLAIN_BYTES, LongString, from_base64, parse_json

SONG = bytes(range(256)) * 2048
MIB = 1 << 20


def text(data: bytes = SONG) -> str:
    return base64.b64encode(data).decode()


def body(**members: Any) -> bytes:
    """A body that is large."""
    return json.dumps({"audio": text()} | members).encode()


@given(st.dictionaries(st.text(max_size=9), st.one_of(st.text(max_size=60), st.integers(), st.none()), max_size=6))
def test_small_members_beside_a_song_are_as_they_were_sent(members: dict[str, Any]) -> None:
    for as_ascii in (True, False):
        values = parse_json(json.dumps(members | {"audio": text()}, ensure_ascii=as_ascii).encode("utf-8", "replace"))
        assert from_base64(values.pop("audio")) == SONG
        if as_ascii:
            assert values == {name: value for name, value in members.items() if name != "audio"}


@given(st.binary(max_size=200), st.integers(1, 9))
def test_base64_is_decoded_in_steps_of_any_size(data: bytes, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_body, "_STEP_BYTES", step)
        assert from_base64(text(data)) == data
        escaped = text(data).replace("/", "\\/").encode()
        assert from_base64(LongString(memoryview(escaped))) == data


@pytest.mark.parametrize("wrong", ["AAA", "AA=A", "AAA=AAAA", "A\\/A", "AA AAAAA", "é"])
@pytest.mark.parametrize("step", [1, 4, 5, MIB])
def test_what_is_not_base64_is_refused(wrong: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "_STEP_BYTES", step)
    with pytest.raises(ValueError, match=r"."):
        from_base64(wrong)


@pytest.mark.parametrize("tail", ["\\\\", "\\\\\\\\", '\\"', '\\\\\\"', "\\u0022"])
def test_strings_that_end_in_escapes(tail: str) -> None:
    sent = b'{"audio": "%s", "text_prompt": "waltz%s", "seed": 3}' % (text().encode(), tail.encode())
    values = parse_json(sent)
    assert values["text_prompt"] == json.loads(f'"waltz{tail}"')
    assert values["seed"] == 3


LARGE = {
    "digits": b'{"seed": %s}' % (b"1" * MIB),
    "a fraction": b'{"duration": 1.%s}' % (b"1" * MIB),
    "spaces": b'{"seed": 1%s}' % (b" " * MIB),
    "spaces after a song": body() + b" " * MIB,
    "a name": b'{"%s": 1}' % (b"A" * MIB),
    "escaped quotes": b'{"audio": "%s"}' % (b'\\"' * MIB),
    "backslashes": b'{"audio": "%s"}' % (b"\\" * MIB),
    "backslashes and an escaped quote": b'{"audio": "%s\\""}' % (b"\\\\" * MIB),
    "short strings": b'"a"' * MIB,
    "empty strings": b'""' * MIB,
    "long strings": b'["%s"]' % b'","'.join([b"A" * (LONG_BYTES + 1)] * (MAX_LONG + 1)),
    "a string without end": b'{"audio": "%s' % (b"A" * MIB),
    "quotes": b'"' * MIB,
    "brackets": b"[" * MIB,
}


@pytest.mark.parametrize("sent", LARGE.values(), ids=list(LARGE))
def test_no_more_than_little_is_ever_parsed_at_a_time(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    loads = json.loads

    def counted(plain: bytes, **options: Any) -> Any:
        parsed.append(len(plain))
        return loads(plain, **options)

    monkeypatch.setattr("serving.http.json_body.json.loads", counted)
    with pytest.raises(InvalidInput) as caught:
        parse_json(sent)
    assert caught.value.field == "body"
    assert len(str(caught.value)) < 200
    assert max(parsed, default=0) < 2 * PLAIN_BYTES


def test_a_long_string_of_escapes_is_not_base64(ingress: Any, check_problem: Any) -> None:
    check_problem(ingress.raw(b'{"audio": "%s"}' % (b"\\n" * MIB)), 422, "audio")


def test_a_long_prompt_is_too_long(ingress: Any, check_problem: Any) -> None:
    check_problem(ingress.raw(body(text_prompt="x" * MIB)), 422, "text_prompt")


def test_a_long_name_is_not_repeated(ingress: Any, check_problem: Any) -> None:
    check_problem(ingress.raw(b'{"%s": 1, "%s": 1}' % (b"A" * MIB, b"B" * MIB)), 422, "body")


def test_a_name_that_is_given_twice_beside_a_song(ingress: Any, check_problem: Any) -> None:
    check_problem(ingress.raw(body()[:-1] + b', "seed": 1, "seed": 2}'), 422, "seed")


def test_a_song_with_escaped_slashes(ingress: Any, stages: Any) -> None:
    answer = ingress.raw(body(duration=1).replace(b"/", b"\\/"))
    assert answer.status_code == 200
    assert stages.requests[0].audio == SONG
