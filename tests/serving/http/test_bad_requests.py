"""What bad requests get: a problem that names the field, and nothing started."""

import asyncio
import base64
import gzip
import io
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

TEXT = {"text_prompt": "a slow waltz"}


def _features() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((9, 35), np.float32))
    return buffer.getvalue()


FEATURES = _features()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "text_prompt"),
        ({"text_prompt": None}, "text_prompt"),
        ({"text_prompt": ""}, "text_prompt"),
        ({"text_prompt": "   "}, "text_prompt"),
        ({"text_prompt": 3}, "text_prompt"),
        ({"text_prompt": ["waltz"]}, "text_prompt"),
        ({"text_prompt": "a\x00b"}, "text_prompt"),
        ({"text_prompt": "x" * 1001}, "text_prompt"),
        (TEXT | {"duration": 0}, "duration"),
        (TEXT | {"duration": -1}, "duration"),
        (TEXT | {"duration": 3601}, "duration"),
        (TEXT | {"duration": 1e300}, "duration"),
        (TEXT | {"duration": "5"}, "duration"),
        (TEXT | {"duration": True}, "duration"),
        (TEXT | {"duration": []}, "duration"),
        (TEXT | {"timeout": 0}, "timeout"),
        (TEXT | {"timeout": -5}, "timeout"),
        (TEXT | {"timeout": 1e9}, "timeout"),
        (TEXT | {"preset": "best"}, "preset"),
        (TEXT | {"guidance_scale": -0.1}, "guidance_scale"),
        (TEXT | {"guidance_scale": 1e9}, "guidance_scale"),
        (TEXT | {"guidance_scale": None}, "guidance_scale"),
        (TEXT | {"guidance_scale": {}}, "guidance_scale"),
        (TEXT | {"num_steps": 0}, "num_steps"),
        (TEXT | {"num_steps": 251}, "num_steps"),
        (TEXT | {"num_steps": 2.5}, "num_steps"),
        (TEXT | {"sampler": "euler"}, "sampler"),
        (TEXT | {"sampler": 1}, "sampler"),
        (TEXT | {"seed": -1}, "seed"),
        (TEXT | {"seed": 2**63}, "seed"),
        (TEXT | {"seed": 10**400}, "seed"),
        (TEXT | {"seed": 1.5}, "seed"),
        (TEXT | {"use_rag": "yes"}, "use_rag"),
        (TEXT | {"use_rag": 1}, "use_rag"),
        (TEXT | {"foot_lock": None}, "foot_lock"),
        (TEXT | {"model": "gpt"}, "model"),
        (TEXT | {"model": 3}, "model"),
        (TEXT | {"model": "x" * 100_000}, "model"),
        (TEXT | {"format": "fbx"}, "format"),
        (TEXT | {"format": None}, "format"),
        (TEXT | {"foo": 1}, "foo"),
        (TEXT | {"audio_url": "https://example.org/a.wav"}, "audio_url"),
        ({"audio_url": "https://example.org/a.wav"}, "audio_url"),
        ({"audio": ""}, "audio"),
        ({"audio": 3}, "audio"),
        ({"audio": "~~~"}, "audio"),
        ({"audio": "ä"}, "audio"),
        ({"features": "AAAA"}, "features"),
        ({"features": {"a": 1}}, "features"),
        (TEXT | {"start": "AAAA"}, "start"),
        ({"audio": "AAAA", "features": base64.b64encode(FEATURES).decode()}, "features"),
    ],
)
def test_bad_json_values(ingress: Any, stages: Any, check_problem: Any, values: dict[str, Any], field: str) -> None:
    check_problem(ingress.generate(values), 422, field)
    assert not stages.requests


@pytest.mark.parametrize(
    ("array", "field"),
    [
        (np.full((30, 35), np.nan), "features"),
        (np.zeros((30, 36)), "features"),
        (np.zeros((0, 35)), "features"),
        (np.zeros((108_001, 35), np.float16), "features"),
        (np.zeros((30, 35), np.int32), "features"),
    ],
)
def test_bad_features(ingress: Any, stages: Any, check_problem: Any, npy: Any, array: Any, field: str) -> None:
    check_problem(ingress.form({}, {"features": ("f.npy", npy(array))}), 422, field)
    assert not stages.requests


def test_a_start_that_leaves_nothing_to_generate(ingress: Any, stages: Any, check_problem: Any, standing: Any) -> None:
    start = base64.b64encode(standing(30)).decode()
    check_problem(ingress.generate(TEXT | {"duration": 1.0, "start": start}), 422, "start")
    assert not stages.requests


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("field", ["duration", "guidance_scale"])
def test_numbers_that_json_does_not_have(
    ingress: Any, stages: Any, check_problem: Any, constant: str, field: str
) -> None:
    body = f'{{"text_prompt": "x", "{field}": {constant}}}'.encode()
    check_problem(ingress.raw(body), 422, field)
    assert not stages.requests


@pytest.mark.parametrize("body", [b'{"seed": [NaN]}', b'{"seed": {"a": Infinity}}'])
def test_nan_inside_a_value_names_its_field(ingress: Any, check_problem: Any, body: bytes) -> None:
    check_problem(ingress.raw(body), 422, "seed")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b'"x"', b"3", b"NaN", b"\xff\xfe\xfa", b'{"seed": 1' + b"0" * 5000 + b"}",
        b"[" * 100_000, b'{"a":' * 50_000, b'{"seed": 01}',
    ],
)  # fmt: skip
def test_broken_json(ingress: Any, check_problem: Any, body: bytes) -> None:
    check_problem(ingress.raw(body), 422, "body")


def test_a_member_given_twice(ingress: Any, check_problem: Any) -> None:
    check_problem(ingress.raw(b'{"text_prompt": "x", "seed": 1, "seed": 2}'), 422, "seed")


def test_a_lone_surrogate_in_names_and_values(ingress: Any, check_problem: Any) -> None:
    check_problem(ingress.raw(b'{"text_prompt": "\\ud800"}'), 422, "text_prompt")
    check_problem(ingress.raw(b'{"\\ud800": 1}'), 422, "body")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"duration": "nan"}, "duration"),
        ({"duration": "inf"}, "duration"),
        ({"duration": ""}, "duration"),
        ({"duration": " 5"}, "duration"),
        ({"duration": "5_0"}, "duration"),
        ({"duration": "٣"}, "duration"),
        ({"duration": "1e999"}, "duration"),
        ({"guidance_scale": "-Infinity"}, "guidance_scale"),
        ({"num_steps": "5.0"}, "num_steps"),
        ({"num_steps": "five"}, "num_steps"),
        ({"seed": "99999999999999999999"}, "seed"),
        ({"use_rag": "True"}, "use_rag"),
        ({"use_rag": "1"}, "use_rag"),
        ({"foo": "1"}, "foo"),
        ({"audio": "text"}, "audio"),
        ({"format": "exe"}, "format"),
    ],
)
def test_bad_form_values(ingress: Any, stages: Any, check_problem: Any, fields: dict[str, str], field: str) -> None:
    check_problem(ingress.form(TEXT | fields), 422, field)
    assert not stages.requests


@pytest.mark.parametrize(
    ("fields", "files", "field"),
    [
        ({}, {"audio": ("song.wav", b"")}, "audio"),
        (TEXT, {"song": ("song.wav", b"RIFF")}, "song"),
        (TEXT, {"duration": ("five.txt", b"5")}, "duration"),
        (TEXT, {"start": ("start.npz", b"PK\x03\x04")}, "start"),
        ({}, {"features": ("f.npy", b"\x93NUMPY")}, "features"),
    ],
)
def test_bad_file_parts(
    ingress: Any, stages: Any, check_problem: Any, fields: Any, files: dict[str, Any], field: str
) -> None:
    check_problem(ingress.form(fields, files), 422, field)
    assert not stages.requests


def test_parts_given_twice(ingress: Any, check_problem: Any) -> None:
    twice = [("audio", ("a.wav", b"RIFF")), ("audio", ("b.wav", b"RIFF"))]
    check_problem(ingress.ask("POST", "/v1/generate", files=twice), 422, "audio")
    twice = [("seed", (None, "1")), ("seed", (None, "2"))]
    check_problem(ingress.ask("POST", "/v1/generate", files=twice), 422, "seed")


def test_too_many_or_too_large_parts(ingress: Any, check_problem: Any) -> None:
    many = [(f"f{i}", (None, "1")) for i in range(100)]
    check_problem(ingress.ask("POST", "/v1/generate", files=many), 422, "body")
    many = [(f"f{i}", ("f", b"1")) for i in range(10)]
    check_problem(ingress.ask("POST", "/v1/generate", files=many), 422, "body")
    check_problem(ingress.form({"text_prompt": "x" * 100_000}), 422, "body")


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_broken_multipart(ingress: Any, content_type: str) -> None:
    assert ingress.raw(b"--y\r\nnothing", content_type).status_code == 422


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "audio/wav"])
def test_other_content_types(ingress: Any, check_problem: Any, content_type: str) -> None:
    check_problem(ingress.raw(b'{"text_prompt": "x"}', content_type), 415, "Content-Type")


def test_packed_bodies(ingress: Any, check_problem: Any) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = gzip.compress(b'{"text_prompt": "x"}')
    check_problem(ingress.ask("POST", "/v1/generate", content=body, headers=headers), 415, "Content-Encoding")


def test_declared_size_is_refused_unread(ingress: Any, check_problem: Any) -> None:
    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    headers = {"Content-Type": "application/json", "Content-Length": "1001"}
    response = ingress.ask("POST", "/v1/generate", content=body(), headers=headers, settings={"max_body_bytes": 1000})
    check_problem(response, 413, "body")


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x"])
def test_undeclared_size_is_counted(ingress: Any, check_problem: Any, content_type: str) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
        for _ in range(1000):
            sent += 100
            yield b"x" * 100

    headers = {"Content-Type": content_type}
    response = ingress.ask("POST", "/v1/generate", content=body(), headers=headers, settings={"max_body_bytes": 1000})
    check_problem(response, 413, "body")
    assert sent <= 1200


def test_a_body_that_trickles_in(ingress: Any, check_problem: Any) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    headers = {"Content-Type": "application/json"}
    response = ingress.ask("POST", "/v1/generate", content=body(), headers=headers, settings={"request_timeout_s": 0.1})
    check_problem(response, 408, "body")


def test_unknown_paths_and_methods(ingress: Any, check_problem: Any) -> None:
    check_problem(ingress.ask("GET", "/nothing"), 404)
    problem = ingress.ask("GET", "/v1/generate")
    check_problem(problem, 405)
    assert problem.headers["allow"] == "POST"
