import contextlib
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from choreo.errors import InvalidInput
from choreo.motion.formats import bvh_parser
from choreo.motion.formats.bvh import bvh_text, read_bvh
from choreo.motion.formats.bvh_parser import parse_bvh, position_chunks

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
        ("HIERARCHY\nMOTION\n", "has no joints"),
        (GOOD.replace("ROOT a", "ROOT"), "joint called ''"),
        (GOOD.replace("ROOT a", "ROOT " + "a" * 1000), "joint name of more"),
        (GOOD.replace("ROOT", "TREE"), "unknown word 'TREE'"),
        (GOOD.replace("End Site", "End"), "not followed by Site"),
        (GOOD.replace("OFFSET 0 1 0\n", ""), "no OFFSET"),
        (GOOD.replace("OFFSET 0 1 0", "OFFSET 0 1"), "OFFSET must be a number"),
        (GOOD.replace("OFFSET 0 1 0", "OFFSET 0 nan 0"), "OFFSET must be a finite"),
        (GOOD.replace("OFFSET 0 1 0", "OFFSET 0 1e300 0"), "OFFSET must be a finite"),
        (GOOD.replace("}\nMOTION", "}\n}\nMOTION"), "outside every joint"),
        (GOOD.replace("HIERARCHY\n", "HIERARCHY\nEnd Site {"), "outside every joint"),
        (GOOD.replace("HIERARCHY\n", "HIERARCHY\nOFFSET 1 2 3\n"), "outside every joint"),
        (
            GOOD.replace("MOTION\n", "".join(f"ROOT {i} {{ OFFSET 0 0 0 }}\n" for i in range(8)) + "MOTION\n", 1),
            "8 roots",
        ),
        (GOOD.replace("CHANNELS 3", "CHANNELS"), "CHANNELS must be a number"),
        (GOOD.replace("CHANNELS 3", "CHANNELS 3 " + "Xrotation " * 20), "more than 16 channels"),
        (GOOD.replace("End Site", "CHANNELS 1 Xrotation\nEnd Site"), "or twice"),
        (GOOD.replace("CHANNELS 3 Xposition Yposition Zposition\n", ""), "nothing moves"),
        (GOOD.replace("Frame Time: 0.1\n", ""), "no line 'Frame Time:'"),
        (GOOD.replace("1 2 3\n4 5 6\n", ""), "holds 0 frames"),
        (GOOD.replace("Frames: 2", "Frames: 2.5"), "whole number"),
        (GOOD.replace("Frames: 2", "Frames: " + "9" * 5000), "finite number"),
        (GOOD.replace("4 5 6", "4 5"), "holds 1 frames of 2 declared and ends inside the next"),
        (GOOD.replace("4 5 6", "4 5 6 7"), "holds 2 frames of 2 declared and ends inside the next"),
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


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("End Site", "End Site tip of it"),
        GOOD.replace("End Site", "JOINT a"),
        GOOD.replace("}\nMOTION", "MOTION"),
        GOOD.replace("CHANNELS 3", "CHANNELS 7"),
        GOOD.replace("CHANNELS 3", "CHANNELS -1"),
        GOOD.replace("Frames: 2\n", ""),
        GOOD.replace("Frames: 2", "Frames 2"),
        *(GOOD.replace("Frames: 2", f"Frames: {n}") for n in (-5, 0, 1, 3, 400000, 999999999)),
        GOOD.replace("1 2 3", "1 2 3 7 8").replace("4 5 6", "4 5 6 9 10"),
        GOOD.replace("\n", "\r"),
        GOOD.lower().replace("motion", "Motion"),
    ],
)
def test_what_blenders_importer_reads_is_read(text):
    assert parse_bvh(text).frames.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_joints_of_one_name_are_told_apart():
    assert parse_bvh(GOOD.replace("End Site", "JOINT a")).names == ("a", "a.001")


def test_values_of_unknown_channels_are_passed_over():
    text = bvh_text_of("Wposition Xposition Yposition Zposition", "7 1 2 3\n8 4 5 6")
    (positions,) = position_chunks(parse_bvh(text))
    assert positions[:, 0].tolist() == [[1, 2, 3], [4, 5, 6]]


def bvh_text_of(channels, rows):
    text = GOOD.replace("3 Xposition Yposition Zposition", f"{len(channels.split())} {channels}")
    return text.replace("1 2 3\n4 5 6", rows)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("Frames: 2", "Frames: 3"), "holds 2 frames of 3 declared"),
        (GOOD.replace("1 2 3", "1 2 3 7").replace("4 5 6", "4 5 6 9"), "has 4 values in a row for 3 channels"),
    ],
)
def test_what_the_file_says_differently_is_noted(text, says):
    (note,) = parse_bvh(text).notes
    assert says in note
    assert not parse_bvh(GOOD).notes


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
    with pytest.raises(InvalidInput, match="holds 40000 frames"):
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
