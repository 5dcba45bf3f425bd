"""The animations of a foreign glTF file as curves of its nodes (Khronos, glTF 2.0 specification, 3.11, appendix C)."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.formats.gltf_accessors import Accessors

Array = NDArray[np.float64]

MAX_NUMBER: Final = 1e7
_REACHED: Final = 0.999
"""Share of the way to a key from which on a step is taken: times are float32, and late or early by their rounding."""
_KINDS: Final = {"translation": "VEC3", "rotation": "VEC4", "scale": "VEC3"}


@dataclass(frozen=True)
class Curve:
    """How one property of a node changes.

    Attributes:
        path: translation, rotation or scale.
        times: (K,) of its keys, seconds, increasing.
        values: (K, C) at the keys; of CUBICSPLINE (3 K, C): incoming tangent, value, outgoing tangent of each.
        interpolation: LINEAR, STEP or CUBICSPLINE.
    """

    path: str
    times: Array
    values: NDArray[Any]
    interpolation: str

    def at(self, times: Array) -> Array:
        """Values (n, C) at times (n,); before the first and after the last key those of it. Rotations are unit ones."""
        last = len(self.times) - 1
        before = np.clip(np.searchsorted(self.times, times, "right") - 1, 0, max(last - 1, 0))
        after = np.minimum(before + 1, last)
        step = self.times[after] - self.times[before]
        share = np.clip((times - self.times[before]) / np.where(step > 0, step, 1), 0, 1)[:, None]
        if self.interpolation == "CUBICSPLINE":
            out = self._spline(before, after, step[:, None], share)
        elif self.interpolation == "STEP":
            out = self._key(np.where(share[:, 0] > _REACHED, after, before))
        elif self.path == "rotation":
            out = _slerp(self._key(before), self._key(after), share)
        else:
            a = self._key(before)
            out = a + share * (self._key(after) - a)
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9) if self.path == "rotation" else out

    def _key(self, keys: NDArray[np.intp], part: int = 1) -> Array:
        rows = 3 * keys + part if self.interpolation == "CUBICSPLINE" else keys
        return self.values[rows].astype(np.float64)

    def _spline(self, before: NDArray[np.intp], after: NDArray[np.intp], step: Array, u: Array) -> Array:
        """Appendix C.5: a cubic Hermite spline, whose tangents are per second."""
        out = (2 * u**3 - 3 * u**2 + 1) * self._key(before) + step * (u**3 - 2 * u**2 + u) * self._key(before, 2)
        return out + (3 * u**2 - 2 * u**3) * self._key(after) + step * (u**3 - u**2) * self._key(after, 0)


def read_curves(animation: dict[str, Any], accessors: Accessors, nodes: int, field: str) -> dict[int, list[Curve]]:
    """The curves of each node of an animation; those of weights and of extensions are left out.

    Args:
        animation: as the file has it.
        accessors: of the file.
        nodes: how many there are.
        field: name of the file in errors.

    Raises:
        InvalidInput: it is damaged, times do not increase, or a number is not finite.
    """
    found: dict[int, list[Curve]] = {}
    samplers = _objects(animation.get("samplers"), "samplers", field)
    for channel in _objects(animation.get("channels"), "channels", field):
        target, number = channel.get("target"), channel.get("sampler")
        if not isinstance(target, dict) or type(number) is not int or not 0 <= number < len(samplers):
            raise InvalidInput(field, "is damaged: a channel of an animation has no target or no sampler")
        node, path = target.get("node"), target.get("path")
        if node is None or path not in _KINDS:
            continue
        if type(node) is not int or not 0 <= node < nodes:
            raise InvalidInput(field, "is damaged: an animation moves a node that there is not")
        found.setdefault(node, []).append(_curve(samplers[number], path, accessors, field))
    return found


def _curve(sampler: dict[str, Any], path: str, accessors: Accessors, field: str) -> Curve:
    interpolation = sampler.get("interpolation", "LINEAR")
    if interpolation not in ("LINEAR", "STEP", "CUBICSPLINE"):
        raise InvalidInput(field, f"has an animation with the interpolation {str(interpolation)[:16]!r}")
    times = accessors.values(sampler.get("input"), "SCALAR")[:, 0].astype(np.float64)
    values = accessors.values(sampler.get("output"), _KINDS[path])
    if len(values) != len(times) * (3 if interpolation == "CUBICSPLINE" else 1):
        raise InvalidInput(field, f"is damaged: an animation has {len(times)} times and {len(values)} values")
    if not np.isfinite(times).all() or np.abs(times).max() > MAX_NUMBER or not (np.diff(times) > 0).all():
        raise InvalidInput(field, "has an animation whose times are not finite, or do not increase")
    if not (np.abs(values) < MAX_NUMBER).all():  # NaN is not
        raise InvalidInput(field, f"has an animation with numbers that are not finite, or beyond {MAX_NUMBER:g}")
    return Curve(path, times, values, interpolation)


def _objects(values: Any, what: str, field: str) -> list[dict[str, Any]]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise InvalidInput(field, f"is damaged: the {what} of an animation are no list of objects")
    return values


def _slerp(a: Array, b: Array, share: Array) -> Array:
    """Between quaternions (n, 4) along the shorter way; C.4."""
    dot = (a * b).sum(axis=1, keepdims=True)
    b, dot = np.where(dot < 0, -b, b), np.minimum(np.abs(dot), 1)
    angle = np.arccos(dot)
    sine = np.sin(angle)
    near = sine < 1e-6
    safe = np.where(near, 1, sine)
    return (
        np.where(near, 1 - share, np.sin((1 - share) * angle) / safe) * a
        + np.where(near, share, np.sin(share * angle) / safe) * b
    )
