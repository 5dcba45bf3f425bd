import contextlib
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from choreo.errors import InvalidInput
from choreo.motion.formats import bvh_parser
from choreo.motion.formats.bvh import bvh_text, read_bvh
from choreo.motion.formats.bvh_parser import parse_bvh

HEAD = "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 3 Xposition Yposition Zposition\nEnd Site\n{\nOFFSET 0 1 0\n}\n}\n"
GOOD = HEAD + "MOTION\nFrames: 2\nFrame Time: 0.1\n1 2 3\n4 5 6\n"
EIGHT_ROOTS = "".join(f"ROOT root{i} {{ OFFSET 0 0 0 }}\n" for i in range(8))


def nested(depth: int) -> str:
    return "HIERARCHY\n" + "".join(
        f"{'JOINT' if i else 'ROOT'} j{i}\n{{\nOFFSET 0 0 0\nCHANNELS 1 Xrotation\n" for i in range(depth)
    )


def test_the_example_is_good():
    assert parse_bvh(GOOD).frames.shape == (2, 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no MOTION"),
        ("\0\x01\x02" * 100, "no MOTION"),
        ("MOTION\n", "ends where HIERARCHY"),
        ("hello world\nMOTION\n", "does not begin with HIERARCHY"),
        ("HIERARCHY\nMOTION\n", "does not end"),
        (GOOD.replace("ROOT a", "ROOT"), "joint called ''"),
        (GOOD.replace("ROOT a", "ROOT " + "a" * 1000), "joint name of more"),
        (GOOD.replace("ROOT", "TREE"), "unknown word 'TREE'"),
        (GOOD.replace("End Site", "End"), "not followed by Site"),
        (GOOD.replace("OFFSET 0 1 0\n", ""), "no OFFSET"),
        (GOOD.replace("OFFSET 0 1 0", "OFFSET 0 1"), "OFFSET must be a number"),
        (GOOD.replace("OFFSET 0 1 0", "OFFSET 0 nan 0"), "OFFSET must be a finite"),
        (GOOD.replace("OFFSET 0 1 0", "OFFSET 0 1e300 0"), "OFFSET must be a finite"),
        (GOOD.replace("}\nMOTION", "MOTION"), "does not end"),
        (GOOD.replace("}\nMOTION", "}\n}\nMOTION"), "outside every joint"),
        (GOOD.replace("HIERARCHY\n", "HIERARCHY\nEnd Site {"), "outside every joint"),
        (GOOD.replace("HIERARCHY\n", "HIERARCHY\nOFFSET 1 2 3\n"), "outside every joint"),
        (
            GOOD.replace("MOTION\n", "".join(f"ROOT {i} {{ OFFSET 0 0 0 }}\n" for i in range(8)) + "MOTION\n", 1),
            "8 roots",
        ),
        (GOOD.replace("End Site", "JOINT a"), "two joints called 'a'"),
        (GOOD.replace("CHANNELS 3", "CHANNELS 7"), "7 channels"),
        (GOOD.replace("CHANNELS 3", "CHANNELS -1"), "-1 channels"),
        (GOOD.replace("CHANNELS 3", "CHANNELS 1e8"), "100000000 channels"),
        (GOOD.replace("CHANNELS 3", "CHANNELS 2.5"), "whole number"),
        (GOOD.replace("CHANNELS 3", "CHANNELS 2"), "unknown word 'Zposition'"),
        (GOOD.replace("Zposition", "Wposition"), "unusable channels"),
        (GOOD.replace("Zposition", "Yposition"), "unusable channels"),
        (GOOD.replace("CHANNELS 3 Xposition Yposition Zposition\n", ""), "nothing moves"),
        (GOOD.replace("Frames: 2\n", ""), "no line 'Frames:'"),
        (GOOD.replace("Frame Time: 0.1\n", ""), "no line 'Frame Time:'"),
        (GOOD.replace("Frames: 2", "Frames: 0"), "declares 0 frames"),
        (GOOD.replace("Frames: 2", "Frames: -5"), "declares -5 frames"),
        (GOOD.replace("Frames: 2", "Frames: 999999999"), "declares 999999999 frames"),
        (GOOD.replace("Frames: 2", "Frames: " + "9" * 5000), "finite number"),
        (GOOD.replace("Frames: 2", "Frames: 400000"), "holds fewer"),
        (GOOD.replace("Frames: 2", "Frames: 3"), "declares 9 motion values but holds 6"),
        (GOOD.replace("Frames: 2", "Frames: 1"), "holds more"),
        (GOOD.replace("Frames: 2", "Frames: two"), "must be a number"),
        (GOOD.replace("0.1", "0"), "must be positive"),
        (GOOD.replace("0.1", "-0.033"), "must be positive"),
        (GOOD.replace("0.1", "nan"), "finite"),
        (GOOD.replace("0.1", ""), "must be a number"),
        (GOOD.replace("4 5 6", "4 5 x"), "not a number"),
        (GOOD.replace("4 5 6", "4 nan 6"), "NaN"),
        (GOOD.replace("4 5 6", "4 inf 6"), "NaN, infinite"),
        (GOOD.replace("4 5 6", "4 1e12 6"), "absurdly large"),
        (GOOD.replace("4 5 6", "4 5 " + "6" * 3_000_000), "not a number"),
        (nested(200) + "MOTION\n", "deeper than 128"),
        ("HIERARCHY\n" + "{" * 100_000 + "\nMOTION\n", "is too long"),
        (
            "HIERARCHY\nROOT a { OFFSET 0 0 0\n" + "End Site { OFFSET 0 0 0 }\n" * 600 + "}\nMOTION\n",
            "more than 512 joints",
        ),
        ("HIERARCHY\n" + "\n" * 100_000 + GOOD, "is too long"),
    ],
)
def test_what_is_wrong_is_said(text, says):
    with pytest.raises(InvalidInput) as error:
        parse_bvh(text, "start")
    assert error.value.field == "start"
    assert says in error.value.message
    assert len(error.value.message) < 200


def test_sizes_are_bounded(monkeypatch, tmp_path):
    monkeypatch.setattr(bvh_parser, "MAX_CHARS", 50)
    monkeypatch.setattr("choreo.motion.formats.bvh.MAX_CHARS", 50)
    (tmp_path / "a.bvh").write_text(GOOD)
    for source in (GOOD, GOOD.encode(), tmp_path / "a.bvh"):
        with pytest.raises(InvalidInput, match="larger than"):
            read_bvh(source)


def test_many_joints_times_many_frames_are_refused():
    sites = "End Site { OFFSET 0 0 0 }\n" * 500
    text = "HIERARCHY\nROOT a { OFFSET 0 0 0 CHANNELS 1 Xrotation\n" + sites + "}\nMOTION\n"
    with pytest.raises(InvalidInput, match="declares 40000 frames"):
        parse_bvh(text + "Frames: 40000\nFrame Time: 0.1\n" + "0 " * 40_000)


@pytest.mark.parametrize("frame_time", ["1e-9", "1.5", "1e9"])
def test_frame_rates_that_nothing_has_are_refused(motion, frame_time):
    with pytest.raises(InvalidInput, match="Frame Time must be between"):
        read_bvh(bvh_text(motion).replace("0.0333333333", frame_time))


def test_coordinates_beyond_belief_are_refused(motion):
    with pytest.raises(InvalidInput, match="beyond"):
        read_bvh(bvh_text(motion), scale=1e6)


@pytest.mark.parametrize("filler", [" ", "\n", "\t\r\n", "{ ", "} ", "0 ", "JOINT ", "9"])
def test_megabytes_of_anything_end_soon(filler):
    started = time.monotonic()
    for text in (filler * (4_000_000 // len(filler)), GOOD + filler * (4_000_000 // len(filler))):
        with contextlib.suppress(InvalidInput):
            parse_bvh(text)
    assert time.monotonic() - started < 20


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.sampled_from("{}0 9.-e\n\tJXnROFCS:\0é")), max_size=6),
    st.integers(0, 300),
)
@example([], 0)
def test_damaged_files_read_or_are_refused(make_motion, edits, cut):
    text = list(bvh_text(make_motion(frames=2)))
    for at, character in edits:
        text[at % len(text)] = character
    with contextlib.suppress(InvalidInput):
        read = read_bvh("".join(text)[: len(text) - cut])
        assert np.isfinite(read.positions).all()
