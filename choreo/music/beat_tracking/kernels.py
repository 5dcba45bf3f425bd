"""The loops over time of the beat tracker, compiled. Import it by `choreo.music.compiling.load_kernels`."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_LIMIT = np.float32(7.9)
_P1, _P3, _P5, _P7, _P9, _P11, _P13 = (
    np.float32(value)
    for value in (
        4.89352455891786e-03,
        6.37261928875436e-04,
        1.48572235717979e-05,
        5.12229709037114e-08,
        -8.60467152213735e-11,
        2.00018790482477e-13,
        -2.76076847742355e-16,
    )
)
_Q0, _Q2, _Q4, _Q6 = (
    np.float32(value)
    for value in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
)


@njit("f4(f4)", inline="always", nogil=True, fastmath=True, error_model="numpy")
def _tanh(value: Any) -> Any:
    """The hyperbolic tangent to seven digits, as a quotient of polynomials (that of Eigen): a loop over it is one over
    vectors, which one over the C library's is not."""
    x = min(max(value, -_LIMIT), _LIMIT)
    y = x * x
    above = x * (_P1 + y * (_P3 + y * (_P5 + y * (_P7 + y * (_P9 + y * (_P11 + y * _P13))))))
    return above / (_Q0 + y * (_Q2 + y * (_Q4 + y * _Q6)))


@njit("f4[:,::1](f4[:,::1],f4[:,::1])", cache=True, nogil=True, fastmath=True, error_model="numpy")
def lstm(inputs: NDArray[np.float32], recurrent: NDArray[np.float32]) -> NDArray[np.float32]:
    """States float32 (T, H) of an LSTM layer that begins with zeros.

    Args:
        inputs: (T, 4 H), input, forget, cell and output gate before their activation, without the recurrent part.
        recurrent: (H, 4 H), H even. Both are halved for the sigmoid gates: sigmoid(x) = (1 + tanh(x / 2)) / 2.
    """
    frames, gates = inputs.shape
    width = gates // 4
    half = np.float32(0.5)
    states = np.zeros((frames, width), np.float32)
    hidden = np.zeros(width, np.float32)
    cell = np.zeros(width, np.float32)
    gate = np.empty(gates, np.float32)
    for t in range(frames):
        gate[:] = inputs[t]
        for k in range(0, width, 2):
            first, second = hidden[k], hidden[k + 1]
            for j in range(gates):
                gate[j] += first * recurrent[k, j] + second * recurrent[k + 1, j]
        for j in range(gates):
            gate[j] = _tanh(gate[j])
        for j in range(width):
            cell[j] *= half + half * gate[width + j]
            cell[j] += (half + half * gate[j]) * gate[2 * width + j]
            hidden[j] = (half + half * gate[3 * width + j]) * _tanh(cell[j])
            states[t, j] = hidden[j]
    return states


@njit(
    "void(f8[:,:,::1],u1[:,:,::1],f8[:,::1],i8[::1],i8[::1],i8[::1],i8[::1],i8[:,::1],f8[:,::1])",
    cache=True,
    nogil=True,
)
def bar_pointer(
    starts: NDArray[np.float64],
    sources: NDArray[np.uint8],
    sums: NDArray[np.float64],
    lengths: NDArray[np.int64],
    sounding: NDArray[np.int64],
    successors: NDArray[np.int64],
    plain: NDArray[np.int64],
    near: NDArray[np.int64],
    costs: NDArray[np.float64],
) -> None:
    """Fill `starts` and `sources` from frame 1 on, as `choreo.music.beat_tracking.bar_pointer` describes them."""
    rows, kinds, num = starts.shape
    ended = np.empty(num)
    for t in range(1, len(sources)):
        row = t % rows
        for kind in range(kinds):
            observed = sums[1 + plain[kind]]
            for i in range(num):
                start = t - lengths[i]
                begin, silent = max(start, 0), max(start + sounding[i], 0)
                gain = sums[0, t] - sums[0, silent] + observed[silent] - observed[begin]
                ended[i] = starts[start % rows, kind, i] + gain
            successor = successors[kind]
            for i in range(num):
                best, source = -np.inf, 0
                for j in range(near.shape[1]):
                    score = ended[near[i, j]] + costs[i, j]
                    if score > best:
                        best, source = score, near[i, j]
                starts[row, successor, i] = best
                sources[t, successor, i] = source
