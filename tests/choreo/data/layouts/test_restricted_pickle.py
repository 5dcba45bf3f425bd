import contextlib
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from choreo.data.layouts.restricted_pickle import MAX_OPCODES, read_arrays
from choreo.errors import InvalidInput


class RunsCommand:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i8", "u1", "?"])
def test_arrays_and_numbers_come_back_at_every_protocol(protocol: int, dtype: str) -> None:
    array = np.arange(24).reshape(4, 6).astype(dtype)
    content = {"a": array, "f": np.asfortranarray(array), "n": 3, "x": 1.5, "s": np.float32(2.5), "text": "left out"}
    read = read_arrays(pickle.dumps(content, protocol=protocol))
    assert set(read) == {"a", "f", "n", "x", "s"}
    for name, value in read.items():
        np.testing.assert_array_equal(value, content[name])


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=4), elements=st.floats(width=32)))
def test_any_array_comes_back(array: np.ndarray) -> None:
    np.testing.assert_array_equal(read_arrays(pickle.dumps({"a": array}))["a"], array)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_program_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "ran"
    data = pickle.dumps({"smpl_poses": np.zeros((2, 72)), "x": RunsCommand(trace)}, protocol=protocol)
    with pytest.raises(InvalidInput, match="not a pickle"):
        read_arrays(data, "motion")
    assert not trace.exists()


@pytest.mark.parametrize(
    "reference",
    ["builtins\neval", "os\nsystem", "numpy\nload", "numpy.core.multiarray\nfromfile", "__main__\nX"],
)
def test_names_other_than_arrays_are_refused(reference: str) -> None:
    with pytest.raises(InvalidInput, match="which is not data"):
        read_arrays(b"\x80\x02c" + reference.encode() + b"\n(tR.")


def test_object_arrays_are_refused() -> None:
    with pytest.raises(InvalidInput, match="not numbers"):
        read_arrays(pickle.dumps({"a": np.array([{}, None], object)}))


def test_an_array_that_lies_about_its_size_is_refused() -> None:
    data = pickle.dumps({"a": np.zeros(4, np.uint8)}, protocol=4)
    assert data.count(b"K\x04\x85") == 1
    with pytest.raises(InvalidInput, match="arrays"):
        read_arrays(data.replace(b"K\x04\x85", b"K\x7f\x85"))


def test_a_memo_index_takes_no_memory() -> None:
    data = b"\x80\x04}r" + struct.pack("<I", 2**32 - 1) + b"."
    assert read_arrays(data) == {}


def test_keys_that_would_take_forever_to_hash_are_refused() -> None:
    nested = b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) + b"0" for i in range(60))
    # POP is no part of data, so the pairs stay on the stack here.
    data = b"\x80\x02)q\x00" + nested.replace(b"0", b"") + b"}h\x3cK\x01s."
    with pytest.raises(InvalidInput):
        read_arrays(data)


def test_lists_of_programs_extension_and_persistent_opcodes_are_refused() -> None:
    for data in (b"\x80\x02\x82\x01.", b"Pabc\n.", b"\x80\x02(ios\nsystem\n.", b"\x80\x02c", b"", b"}", b"(.", b"R."):
        with pytest.raises(InvalidInput):
            read_arrays(data)


def test_too_many_parts_are_refused() -> None:
    with pytest.raises(InvalidInput, match="too many parts"):
        read_arrays(b"\x80\x02" + b"N" * (MAX_OPCODES + 2) + b".")


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        read_arrays(data)
