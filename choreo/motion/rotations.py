"""Rotation matrices: from axis and angle, from and to the six-dimensional form, shortest arcs, Procrustes.

Everything is vectorised over leading axes. A rotation matrix R maps local to parent coordinates, v' = R v.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EPS = 1e-9
NEARLY_OPPOSITE = -0.99
"""Cosine below which dividing by 1 + cos loses precision."""


def length(v: NDArray[np.floating]) -> Array:
    """|v| of (..., D); a third of the time of `np.linalg.norm`, which dominates for short clips."""
    return np.asarray(np.sqrt(np.einsum("...i,...i->...", v, v)), np.float64)


def normalize(v: NDArray[np.floating]) -> Array:
    """v / |v| of (..., D); zero vectors stay zero."""
    v = np.asarray(v, np.float64)
    return v / np.maximum(length(v), EPS)[..., None]


def axis_angle(axis: NDArray[np.floating], angle: NDArray[np.floating] | float) -> Array:
    """Rodrigues' formula: rotation by `angle` (...) radians about unit `axis` (..., 3) -> (..., 3, 3)."""
    axis, angle = np.asarray(axis, np.float64), np.asarray(angle, np.float64)[..., None, None]
    k = skew(axis)
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)


def skew(v: Array) -> Array:
    """Cross-product matrix of v (..., 3) -> (..., 3, 3)."""
    out = np.zeros((*v.shape, 3))
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    return out - np.swapaxes(out, -1, -2)


def yaw(angle: NDArray[np.floating] | float) -> Array:
    """Rotation about +y by `angle` (...) radians; a positive angle turns +z towards +x."""
    return axis_angle(np.array([0.0, 1.0, 0.0]), angle)


def cross(a: NDArray[np.floating], b: NDArray[np.floating]) -> Array:
    """a x b for (..., 3), broadcast; a tenth of the overhead of `np.cross`, which dominates for short clips."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    out = np.empty(np.broadcast_shapes(a.shape, b.shape))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        out[..., i] = a[..., j] * b[..., k] - a[..., k] * b[..., j]
    return out


def dot(a: Array, b: Array) -> Array:
    """a . b of (..., 3), broadcast."""
    return np.asarray(np.einsum("...i,...i->...", a, b))


def shortest_arc(a: NDArray[np.floating], b: NDArray[np.floating]) -> Array:
    """Rotation (..., 3, 3) without twist that takes direction a (..., 3) to direction b.

    With v = a x b and c = a . b of the unit vectors it is c I + [v]x + v v^T / (1 + c); the identity where a or b is
    zero.
    """
    a, b = normalize(a), normalize(b)
    v, cos = cross(a, b), dot(a, b)
    cos = np.where(cos**2 + dot(v, v) < 0.5, 1.0, cos)  # a zero vector has no direction
    back = cos < NEARLY_OPPOSITE
    out = v[..., :, None] * (v / np.where(back, 1.0, 1 + cos)[..., None])[..., None, :]
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        out[..., i, i] += cos
        out[..., i, j] -= v[..., k]
        out[..., j, i] += v[..., k]
    if back.any():
        a, b = np.broadcast_arrays(a, b)
        out[back] = _half_turn(a[back], b[back])
    return out


def _half_turn(a: Array, b: Array) -> Array:
    """`shortest_arc` of nearly opposite unit vectors (N, 3); for opposite ones any perpendicular axis will do."""
    v = cross(a, b)
    sin = np.sqrt(dot(v, v))
    helper = np.where(np.abs(a[:, :1]) < 0.9, np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
    axis = np.where((sin < EPS)[:, None], normalize(cross(a, helper)), v / np.maximum(sin, EPS)[:, None])
    return axis_angle(axis, np.arctan2(sin, dot(a, b)))


def rotation_vector(rotation: NDArray[np.floating]) -> Array:
    """Axis times angle (..., 3), at most pi, of rotations (..., 3, 3): the inverse of `axis_angle`.

    The axis of a half turn has no sign; near one it is taken from the symmetric part of R, cos I + (1 - cos) n n^T.
    """
    r = np.asarray(rotation, np.float64)
    twice = np.stack([r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]], axis=-1)
    cos = (np.trace(r, axis1=-2, axis2=-1) - 1) / 2
    angle = np.arctan2(length(twice) / 2, cos)
    symmetric = r + np.swapaxes(r, -1, -2) - 2 * cos[..., None, None] * np.eye(3)
    longest = np.diagonal(symmetric, axis1=-2, axis2=-1).argmax(axis=-1)
    axis = np.take_along_axis(symmetric, longest[..., None, None], axis=-1)[..., 0]
    axis = axis * np.where(dot(axis, twice) < 0, -1.0, 1.0)[..., None]
    return normalize(np.where((cos < NEARLY_OPPOSITE)[..., None], axis, twice)) * angle[..., None]


def procrustes(source: NDArray[np.floating], target: NDArray[np.floating]) -> Array:
    """Proper rotation (..., 3, 3) minimising |R source_i - target_i|^2 over N vectors (..., N, 3). Kabsch 1976."""
    covariance = np.swapaxes(target, -1, -2).astype(np.float64) @ np.asarray(source, np.float64)
    u, _, vt = np.linalg.svd(covariance)
    sign = np.sign(np.linalg.det(u @ vt))
    u[..., :, 2] *= np.where(sign == 0, 1.0, sign)[..., None]
    return u @ vt


def to_six(rotation: NDArray[np.floating]) -> Array:
    """First two columns of rotations (..., 3, 3) -> (..., 6): the continuous form of Zhou et al. 2019."""
    r = np.asarray(rotation, np.float64)
    return np.concatenate([r[..., :, 0], r[..., :, 1]], axis=-1)


def from_six(six: NDArray[np.floating]) -> Array:
    """Rotations (..., 3, 3) from (..., 6) by Gram-Schmidt (Zhou et al. 2019, eq. 15)."""
    six = np.asarray(six, np.float64)
    x = normalize(six[..., :3])
    y = normalize(six[..., 3:] - (x * six[..., 3:]).sum(-1, keepdims=True) * x)
    return np.stack([x, y, cross(x, y)], axis=-1)
