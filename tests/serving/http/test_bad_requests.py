"""What bad requests get: a problem that names the field, and nothing started."""

import asyncio
import base64
import errno
import gzip
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from choreo.music.rhythm import MAX_BEATS, Rhythm

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
        (TEXT | {"music_guidance": 2.0}, "music_guidance"),
        *((TEXT | {"text_guidance": scale}, "text_guidance") for scale in (-0.1, 20.5, "2", True, [2.0])),
        (TEXT | {"text_guidance": 2.0, "sampler": "lcm"}, "text_guidance"),
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
        (TEXT | {"format": "usd"}, "format"),
        (TEXT | {"format": None}, "format"),
        (TEXT | {"camera": "drone"}, "camera"),
        (TEXT | {"camera": 1}, "camera"),
        (TEXT | {"up": "w"}, "up"),
        (TEXT | {"up": 2}, "up"),
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
@pytest.mark.parametrize("field", ["duration", "guidance_scale", "text_guidance"])
def test_numbers_that_json_does_not_have(
    ingress: Any, stages: Any, check_problem: Any, constant: str, field: str
) -> None:
    body = f'{{"text_prompt": "x", "{field}": {constant}}}'.encode()
    check_problem(ingress.raw(body), 422, field)
    assert not stages.requests


@pytest.mark.parametrize("body", [b'{"seed": [NaN]}', b'{"seed": {"a": Infinity}}'])
def test_nan_inside_a_value_names_its_field(ingress: Any, check_problem: Any, body: bytes) -> None:
    check_problem(ingress.raw(body), 422, "seed")


SONG = {"audio": base64.b64encode(b"RIFF").decode()}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        *((values, next(iter(values))) for values in ({"bpm": 120}, {"beats": [0, 1]}, {"half_time": True})),
        *((SONG | {"bpm": bpm}, "bpm") for bpm in (0, -120, 1e9, 10**400, "120", True, [120])),
        *((SONG | {"beats": beats}, "beats") for beats in ([], [1.0], list(range(4097)), "0,1", 3, {"a": 1})),
        (SONG | {"beats": [0, 1, 2, 1.5]}, "beats.3"),
        (SONG | {"beats": [0, 1, 1]}, "beats.2"),
        (SONG | {"beats": [-1, 1]}, "beats.0"),
        (SONG | {"beats": [0, 1, "2"]}, "beats.2"),
        (SONG | {"beats": [0, [1]]}, "beats.1"),
        (SONG | {"beats": [0, None]}, "beats.1"),
        (SONG | {"beats": [0, 10**400]}, "beats.1"),
        (SONG | {"beats": [0, 0.5, 1], "bpm": 90}, "bpm"),
        ({"downbeats": [0, 1]}, "downbeats"),
        (SONG | {"downbeats": [0, 1]}, "downbeats"),
        *((SONG | {"beats": [0, 1], "downbeats": bars}, "downbeats") for bars in ([], [1.0], list(range(4097)), "0,1")),
        (SONG | {"beats": [0, 1, 2, 3, 4], "downbeats": [0, 1, 2, 3.1]}, "downbeats.3"),
        (SONG | {"beats": [0, 1], "downbeats": [0, None]}, "downbeats.1"),
        (SONG | {"bpm": 120, "downbeats": [0, 2, 4.25]}, "downbeats.2"),
        (SONG | {"half_time": None}, "half_time"),
        (SONG | {"half_time": 1}, "half_time"),
        (SONG | {"beats": [0, 1], "half_time": True}, "half_time"),
    ],
)
def test_bad_beats(ingress: Any, stages: Any, check_problem: Any, values: dict[str, Any], field: str) -> None:
    check_problem(ingress.generate(TEXT | values), 422, field)
    assert not stages.requests


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "1e999"])
def test_beats_that_json_does_not_have(ingress: Any, stages: Any, check_problem: Any, constant: str) -> None:
    song = f'"audio": "{SONG["audio"]}"'
    check_problem(ingress.raw(f'{{{song}, "beats": [0, 1, {constant}]}}'.encode()), 422, "beats.2")
    check_problem(ingress.raw(f'{{{song}, "bpm": {constant}}}'.encode()), 422, "bpm")
    check_problem(ingress.raw(f'{{{song}, "beats": {constant}}}'.encode()), 422, "beats")
    assert not stages.requests


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"beats": "0,1,nan"}, "beats.2"), ({"beats": "0,,1"}, "beats.1"), ({"beats": ""}, "beats"),
        ({"beats": "[0,1]"}, "beats.0"), ({"beats": "0,1,0.5"}, "beats.2"), ({"beats": "1"}, "beats"),
        ({"beats": "0,1", "downbeats": "0,x"}, "downbeats.1"),
        ({"beats": "0,1,2", "downbeats": "0,1.5"}, "downbeats.1"),
        ({"bpm": "nan"}, "bpm"), ({"bpm": "0"}, "bpm"), ({"half_time": "yes"}, "half_time"),
    ],
)  # fmt: skip
def test_bad_beats_in_a_form(ingress: Any, stages: Any, check_problem: Any, fields: dict[str, str], field: str) -> None:
    check_problem(ingress.form(fields, {"audio": ("a.wav", b"RIFF")}), 422, field)
    assert not stages.requests


def test_beats_arrive_in_json_and_forms(ingress: Any, stages: Any) -> None:
    beats = [i + 1 / 3 for i in range(MAX_BEATS)]
    assert ingress.generate(SONG | {"beats": beats, "downbeats": beats, "half_time": True}).status_code == 200
    texts = {"beats": ", ".join(f"{beat:.4f}" for beat in beats), "bpm": "60"}
    assert ingress.form(texts, {"audio": ("a.wav", b"RIFF")}).status_code == 200
    (json_rhythm, form_rhythm) = (request.rhythm for request in stages.requests)
    assert json_rhythm == Rhythm(None, tuple(beats), True, tuple(beats))
    assert form_rhythm == Rhythm(60, tuple(round(beat, 4) for beat in beats))


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
        ({"text_guidance": "nan"}, "text_guidance"),
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


def part(name: str, value: bytes, filename: str | None = None, head: bytes = b"") -> bytes:
    """One part of a form whose boundary is x."""
    file = b"" if filename is None else b'; filename="%s"' % filename.encode()
    return b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n%s\r\n%s\r\n' % (name.encode(), file, head, value)


FORM = part("text_prompt", b"a slow waltz") + part("audio", b"RIFF" + bytes(5000), "song.wav")


@pytest.mark.parametrize("cut", [1, 2, 3, 100, 5000, len(FORM) // 2])
def test_a_form_that_ends_before_its_closing_boundary(ingress: Any, check_problem: Any, cut: int) -> None:
    whole = FORM + b"--x--\r\n"
    check_problem(ingress.raw(whole[: len(FORM) - cut], "multipart/form-data; boundary=x"), 422, "body")


@pytest.mark.parametrize("charset", ["undefined", "idna", "punycode", "utf-16", "base64", "nothing", "\udcff"])
def test_a_form_in_an_odd_character_set(ingress: Any, charset: str) -> None:
    body = part("text_prompt", "wält\udcffz".encode("utf-8", "surrogateescape")) + b"--x--\r\n"
    content_type = f"multipart/form-data; boundary=x; charset={charset}".encode("utf-8", "surrogateescape")
    answer = ingress.ask("POST", "/v1/generate", content=body, headers={b"Content-Type": content_type})
    assert answer.status_code in (200, 422)


def test_a_part_whose_head_is_endless(ingress: Any, check_problem: Any) -> None:
    for head in (b"X: " + b"a" * 100_000 + b"\r\n", b"X" * 100_000 + b": a\r\n", b"X: a\r\n" * 20_000):
        body = part("text_prompt", b"a slow waltz", head=head) + b"--x--\r\n"
        check_problem(ingress.raw(body, "multipart/form-data; boundary=x"), 422, "body")


@pytest.mark.parametrize("brackets", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 4000, b"[" * 4000 + b"]" * 4000])
def test_json_that_is_nested_without_end(ingress: Any, check_problem: Any, brackets: bytes) -> None:
    check_problem(ingress.raw(b'{"text_prompt": "waltz", "seed": ' + brackets + b"}"), 422, "body")


def test_json_with_very_many_members(ingress: Any, check_problem: Any) -> None:
    members = ",".join(f'"{i:x}":0' for i in range(200_000))
    check_problem(ingress.raw(f"{{{members}}}".encode()), 422, "body")
    check_problem(ingress.raw(f'{{{members}, "z": 0, "z": 0}}'.encode()), 422, "body")


def test_a_prompt_full_of_separators_is_a_prompt(ingress: Any) -> None:
    answer = ingress.raw(json.dumps({"text_prompt": ",:[{" * 250, "duration": 1}).encode())
    assert answer.status_code == 200


def test_a_member_that_comes_twice_at_the_end(ingress: Any, check_problem: Any) -> None:
    members = ",".join(f'"{i:x}":0' for i in range(1000))
    check_problem(ingress.raw(f'{{{members}, "z": 0, "z": 0}}'.encode()), 422, "z")


@pytest.mark.parametrize(
    "text", ["AAA", "AA=A", "A" * (1 << 20) + "=", "A" * ((1 << 20) - 1) + "=" + "AAAA", "é", "AA A"]
)
def test_base64_that_is_none(ingress: Any, check_problem: Any, text: str) -> None:
    check_problem(ingress.raw(json.dumps(TEXT | {"audio": text}).encode()), 422, "audio")


def test_a_disk_without_room_is_not_a_defect(ingress: Any, check_problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile.write", full)
    answer = ingress.raw(FORM + b"--x--\r\n", "multipart/form-data; boundary=x")
    assert check_problem(answer, 507)["type"] == "urn:choreo:problem:no-space"
    assert "retry-after" in answer.headers


def test_uploads_that_trickle_take_nobodys_place(ingress: Any) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async def main() -> None:
        headers = {"Content-Type": "application/json", "Content-Length": "1000"}
        async with ingress.connect(max_ongoing_requests=1, max_queued_requests=0) as client:
            slow_ones = [
                asyncio.create_task(client.post("/v1/generate", content=slow(), headers=headers)) for _ in range(20)
            ]
            await asyncio.sleep(0)
            answer = await client.post("/v1/generate", json=TEXT | {"duration": 1})
            assert answer.status_code == 200
            for task in slow_ones:
                task.cancel()
            await asyncio.gather(*slow_ones, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("values", "field"),
    [({"num_samples": n}, "num_samples") for n in (0, -1, 1000, 1.5, "4", True, None, 10**400)]
    + [
        ({"num_samples": 3, "duration": 1500.0}, "num_samples"),
        ({"on_beat": True}, "on_beat"),
        ({"on_beat": 1}, "on_beat"),
        ({"on_beat": "true"}, "on_beat"),
    ],
)
def test_bad_samples_and_beats_to_land_on(
    ingress: Any, stages: Any, check_problem: Any, values: dict[str, Any], field: str
) -> None:
    check_problem(ingress.generate(TEXT | values), 422, field)
    assert not stages.requests


def test_the_operator_bounds_the_number_of_samples(ingress: Any, check_problem: Any) -> None:
    problem = check_problem(
        ingress.generate(TEXT | {"num_samples": 3}, settings={"max_samples": 2}), 422, "num_samples"
    )
    assert "between 1 and 2" in problem["detail"]


def test_samples_and_beats_to_land_on_in_a_form(ingress: Any, stages: Any, check_problem: Any) -> None:
    song = {"audio": ("a.wav", b"RIFF")}
    assert ingress.form({"num_samples": "3", "on_beat": "false"}, song).status_code == 200
    (request,) = stages.requests
    assert (request.num_samples, request.finish.on_beat) == (3, False)
    check_problem(ingress.form({"num_samples": "many"}, song), 422, "num_samples")
    check_problem(ingress.form({"on_beat": "maybe"}, song), 422, "on_beat")
