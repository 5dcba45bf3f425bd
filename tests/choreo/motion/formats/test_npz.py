import contextlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.npz import npz_bytes, read_npz, write_npz
from choreo.motion.skeleton import JOINT_NAMES, PARENTS


def archive(**members) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **members)
    return buffer.getvalue()


def archive_with(motion: Motion, **changes) -> bytes:
    """The archive of a motion with members replaced, or left out where the change is None."""
    members = dict(np.load(io.BytesIO(npz_bytes(motion)))) | changes
    return archive(**{name: value for name, value in members.items() if value is not None})


def raw_member(header: str, body: bytes = b"") -> bytes:
    """An archive whose `positions` has a header written by hand."""
    text = header.encode().ljust(117) + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("positions.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body)
    return buffer.getvalue()


def test_round_trip(motion, tmp_path):
    path = tmp_path / "clip.npz"
    write_npz(motion, path)
    for source in (path, str(path), path.read_bytes()):
        read = read_npz(source)
        assert (read.positions == motion.positions).all()
        assert (read.rotations == motion.rotations).all()
        assert (read.fps, read.meta) == (motion.fps, motion.meta)


def test_the_file_keeps_the_documented_contract(motion):
    with np.load(io.BytesIO(npz_bytes(motion)), allow_pickle=False) as file:
        assert file["positions"].dtype == np.float32
        assert file["positions"].shape == (motion.num_frames, 22, 3)
        assert float(file["fps"]) == 30
        assert tuple(file["joint_names"]) == JOINT_NAMES
        assert tuple(file["parents"]) == PARENTS
        assert json.loads(str(file["meta"])) == motion.meta
        assert file["rotations"].dtype == np.float32


def test_unfitted_motion_has_no_rotations(make_motion):
    data = npz_bytes(make_motion(fitted=False))
    assert "rotations" not in np.load(io.BytesIO(data)).files
    assert read_npz(data).rotations is None


def test_equal_motion_gives_equal_bytes(make_motion):
    assert npz_bytes(make_motion(seed=3)) == npz_bytes(make_motion(seed=3))


def test_only_positions_and_fps_are_required_and_float64_will_do(motion):
    read = read_npz(archive(positions=motion.positions.astype(np.float64), fps=25))
    assert read.positions.dtype == np.float32
    assert (read.fps, read.rotations, read.meta) == (25, None, {})


def test_a_far_travelled_dancer_reads_back(make_motion):
    motion = make_motion()
    far = Motion((motion.positions + np.array([5000, 0, 0])).astype(np.float32), 30, motion.rotations)
    assert read_npz(npz_bytes(far)).rotations is not None


def test_meta_that_json_cannot_hold_is_written_as_null(motion):
    read = read_npz(
        npz_bytes(Motion(motion.positions, meta={"a": np.float32("nan"), "b": np.int64(3), "c": Path("x")}))
    )
    assert read.meta == {"a": None, "b": 3, "c": "x"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"fps": None}, "start.fps"),
        ({"fps": np.nan}, "start.fps"),
        ({"fps": 0.0}, "start.fps"),
        ({"fps": np.array([30.0, 30.0])}, "start.fps"),
        ({"fps": np.array("30")}, "start.fps"),
        ({"positions": None}, "start.positions"),
        ({"positions": np.zeros((5, 24, 3), np.float32)}, "start.positions"),
        ({"positions": np.zeros((0, 22, 3), np.float32)}, "start.positions"),
        ({"positions": np.full((5, 22, 3), np.nan, np.float32)}, "start.positions"),
        ({"positions": np.full((5, 22, 3), 1e300)}, "start.positions"),
        ({"positions": np.full((5, 22, 3), 1e6, np.float32)}, "start.positions"),
        ({"positions": np.zeros((5, 22, 3), np.complex64)}, "start.positions"),
        ({"positions": np.zeros((5, 22, 3), "S8")}, "start.positions"),
        ({"rotations": np.zeros((3, 22, 3, 3), np.float32)}, "start.rotations"),
        ({"rotations": np.zeros((40, 22, 3, 3), np.float32)}, "start.rotations"),
        ({"rotations": np.full((40, 22, 3, 3), np.inf, np.float32)}, "start.rotations"),
        ({"rotations": np.full((40, 22, 3, 3), 3e38, np.float32)}, "start.rotations"),
        ({"rotations": np.tile(-np.eye(3, dtype=np.float32), (40, 22, 1, 1))}, "start.rotations"),
        ({"rotations": np.tile(np.eye(3, dtype=np.float32), (40, 22, 1, 1))}, "start.rotations"),
        ({"joint_names": np.array(JOINT_NAMES[::-1])}, "start.joint_names"),
        ({"joint_names": np.array(["x" * 5000] * 22)}, "start.joint_names"),
        ({"parents": np.zeros(22, np.int32)}, "start.parents"),
        ({"meta": np.array("{")}, "start.meta"),
        ({"meta": np.array("[" * 100_000)}, "start.meta"),
        ({"meta": np.array('{"a": NaN}')}, "start.meta"),
        ({"meta": np.array("[1]")}, "start.meta"),
        ({"meta": np.array(3)}, "start.meta"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(motion, changes, field):
    with pytest.raises(InvalidInput) as error:
        read_npz(archive_with(motion, **changes), "start")
    assert error.value.field == field


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"not an archive", npz_bytes.__name__.encode() * 1000])
def test_what_is_no_archive_is_refused(data):
    with pytest.raises(InvalidInput, match=r"^start: is not an \.npz archive"):
        read_npz(data, "start")


class Bomb:
    """Unpickling one would leave a mark."""

    def __reduce__(self):
        return (Path("/nonexistent/mark").touch, ())


def test_pickles_are_never_loaded():
    array = np.empty((1, 22, 3), object)
    array[:] = Bomb()
    with pytest.raises(InvalidInput, match=r"motion\.positions"):
        read_npz(archive(positions=array, fps=30))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 22, 3)}",  # says much, holds nothing
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 22, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 22, 3)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1, 22, 3)}",
        "{'descr': '<f4', 'shape': (5, 22, 3)}",
        "(" * 100,
        "__import__('os')",
    ],
)
def test_headers_that_lie_are_refused_before_memory_is_taken(header):
    with pytest.raises(InvalidInput) as error:
        read_npz(raw_member(header))
    assert error.value.field == "motion.positions"


def test_a_declared_size_is_held_against_the_members_size():
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (100000, 22, 3)}"
    with pytest.raises(InvalidInput, match="declares 26400128 bytes but holds 140"):
        read_npz(raw_member(header, bytes(12)))


def test_a_zip_bomb_is_refused_by_its_declared_size():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file, file.open("junk.npy", "w") as member:
        for _ in range(140):
            member.write(bytes(2**21))
    assert len(buffer.getvalue()) < 2**20
    with pytest.raises(InvalidInput, match="unpacks to more"):
        read_npz(buffer.getvalue())


def test_too_many_and_double_members_are_refused(motion):
    with pytest.raises(InvalidInput, match="more than 32 members"):
        read_npz(archive(**{f"a{i}": 0 for i in range(40)}))
    buffer = io.BytesIO(npz_bytes(motion))
    with zipfile.ZipFile(buffer, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("fps.npy", b"")
    with pytest.raises(InvalidInput, match="two members of one name"):
        read_npz(buffer.getvalue())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_archives_read_or_are_refused(make_motion, data):
    packed = bytearray(npz_bytes(make_motion(frames=3)))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 200))
    with contextlib.suppress(InvalidInput):
        assert np.isfinite(read_npz(bytes(packed[: len(packed) - cut])).positions).all()
