"""Reading pickles of plain data without executing them.

`pickle.load` calls whatever a file names, so a downloaded pickle is a program. Here a small interpreter handles the
opcodes of NumPy arrays, numbers, strings and containers (documented in Python's `pickletools`). The few callables that
such files name are replaced by functions of this module that only build data; any other name, opcode or extension is
refused.
"""

import io
import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput

MAX_FILE_BYTES: Final = 64 * 2**20
MAX_OPCODES: Final = 2**16

_MARK: Final = object()
_DTYPE: Final = re.compile(r"[<>|=]?[fiub][1248]")


class _Refused(ValueError):
    pass


@dataclass
class _Dtype:
    """A number type; when unpickled, it is created first and gets its byte order afterwards."""

    code: str
    order: str = "="

    def __post_init__(self) -> None:
        if not isinstance(self.code, str) or not _DTYPE.fullmatch(self.code):
            raise _Refused("an array whose items are not numbers")

    def set_state(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if not isinstance(order, str) or order not in ("<", ">", "=", "|"):
            raise _Refused("an array type without a byte order")
        self.order = order

    @property
    def numpy(self) -> np.dtype[Any]:
        order = self.code[0] if self.code[0] in "<>" else self.order
        return np.dtype(order + self.code.lstrip("<>|="))


@dataclass
class _Array:
    """An array; when unpickled, it is created empty and filled afterwards."""

    value: NDArray[Any] | None = None

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("an array without contents")
        _, shape, dtype, fortran, raw = state
        self.value = _array(raw, dtype, shape, "F" if fortran else "C")


def _array(raw: Any, dtype: Any, shape: Any, order: Any = "C") -> NDArray[Any]:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes) or not isinstance(shape, tuple):
        raise _Refused("an array that is not made of plain numbers")
    if len(shape) > 8 or not all(isinstance(n, int) and 0 <= n <= len(raw) for n in shape) or order not in ("C", "F"):
        raise _Refused("an array of impossible shape")
    if math.prod(shape) * dtype.numpy.itemsize != len(raw):
        raise _Refused("an array whose size is not that of its contents")
    return np.frombuffer(raw, dtype.numpy).reshape(shape, order=order)


def _scalar(dtype: Any, raw: Any) -> Any:
    return _array(raw, dtype, ()).item()


def _encoded(text: Any, encoding: Any) -> bytes:
    """Bytes as protocol 2 writes them."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused("text in an unknown encoding")
    return text.encode("latin1")


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    return _Array(_array(bytes(raw) if isinstance(raw, bytearray) else raw, dtype, shape, order))


def _empty_array(*_: Any) -> _Array:
    return _Array()


def _dtype(code: Any, *_: Any) -> _Dtype:
    return _Dtype(code)


_NDARRAY: Final = object()
_CALLABLES: Final[dict[str, Callable[..., Any]]] = {
    "multiarray _reconstruct": _empty_array,
    "multiarray scalar": _scalar,
    "numeric _frombuffer": _from_buffer,
}
_KNOWN: Final[tuple[Callable[..., Any], ...]] = (*_CALLABLES.values(), _dtype, _encoded)


def _named(module: Any, name: Any) -> Any:
    """The replacement of a global; internals of NumPy 1 are in `numpy.core`, of NumPy 2 in `numpy._core`."""
    for core in ("numpy.core.", "numpy._core."):
        if isinstance(module, str) and module.startswith(core):
            found = _CALLABLES.get(f"{module.removeprefix(core)} {name}")
            if found is not None:
                return found
    plain = {("numpy", "ndarray"): _NDARRAY, ("numpy", "dtype"): _dtype, ("_codecs", "encode"): _encoded}
    if (module, name) not in plain:
        raise _Refused(f"a reference to {module!s:.64}.{name!s:.64}, which is not data")
    return plain[module, name]


class _Machine:
    """Stack machine of the pickle protocol, for opcodes that only build data."""

    _CONSTANTS: Final = frozenset(
        {"INT", "BININT", "BININT1", "BININT2", "LONG1", "FLOAT", "BINFLOAT", "UNICODE", "SHORT_BINUNICODE"}
        | {"BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
    )
    _VALUES: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(data))):
            if count > MAX_OPCODES:
                raise _Refused("too many parts")
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise _Refused("no end")

    def step(self, name: str, argument: Any) -> None:
        if name in ("PROTO", "FRAME"):
            return
        if name in self._CONSTANTS:
            self.stack.append(argument)
        elif name in self._VALUES:
            self.stack.append(self._VALUES[name])
        elif name in ("BINSTRING", "SHORT_BINSTRING"):  # bytes written by Python 2
            self.stack.append(argument.encode("latin1"))
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self._global(argument)
        else:
            self._build(name)

    def _build(self, name: str) -> None:
        if name in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE"):
            self.stack.append({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}[name]())
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            self.stack.append(tuple(self._last(int(name[-1]))))
        elif name == "TUPLE":
            self.stack.append(tuple(self._marked()))
        elif name in ("APPEND", "APPENDS"):
            items = self._marked() if name == "APPENDS" else self._last(1)
            self._top(list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._marked() if name == "SETITEMS" else self._last(2)
            if len(items) % 2 or not all(isinstance(key, str) for key in items[::2]):
                raise _Refused("a dictionary whose keys are not words")
            self._top(dict).update(zip(items[::2], items[1::2], strict=True))
        elif name == "REDUCE":
            call, arguments = self._last(2)
            if not any(call is known for known in _KNOWN) or not isinstance(arguments, tuple):
                raise _Refused("a call, which is not data")
            self.stack.append(call(*arguments))
        elif name == "BUILD":
            (state,) = self._last(1)
            target = self.stack[-1]
            if not isinstance(target, _Array | _Dtype):
                raise _Refused("an object that is not data")
            target.set_state(state)
        else:
            raise _Refused(f"opcode {name}, which data does not need")

    def _global(self, argument: str | None) -> None:
        module, name = argument.split(" ", 1) if argument is not None else self._last(2)
        self.stack.append(_named(module, name))

    def _last(self, count: int) -> list[Any]:
        if len(self.stack) < count or any(item is _MARK for item in self.stack[-count:]):
            raise _Refused("a part that is missing")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _marked(self) -> list[Any]:
        at = next(i for i in range(len(self.stack) - 1, -1, -1) if self.stack[i] is _MARK)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def _top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise _Refused("items outside a container")
        return self.stack[-1]


def read_arrays(source: Path | bytes, field: str = "pickle") -> dict[str, NDArray[Any]]:
    """Arrays and numbers of a pickled dictionary, by name; other entries are left out. Nothing is executed.

    Args:
        source: path or content.
        field: name of the source in errors.

    Raises:
        InvalidInput: not a pickle of a dictionary, larger than 64 MiB, or with anything but data in it.
        OSError: the path cannot be read.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(MAX_FILE_BYTES + 1)
    if len(source) > MAX_FILE_BYTES:
        raise InvalidInput(field, f"is larger than {MAX_FILE_BYTES // 2**20} MiB")
    try:
        content = _Machine().run(source)
    except _Refused as error:
        raise InvalidInput(field, f"is not a pickle of plain arrays: it holds {error}") from error
    except Exception as error:  # pickletools does not document what it raises on broken bytes
        raise InvalidInput(field, "is not a pickle, or is damaged") from error
    if not isinstance(content, dict):
        raise InvalidInput(field, "must hold a dictionary of arrays")
    return {
        name: np.asarray(value.value if isinstance(value, _Array) else value)
        for name, value in content.items()
        if (isinstance(value, _Array) and value.value is not None) or isinstance(value, int | float)
    }
