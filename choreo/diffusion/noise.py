"""Addressed noise: a standard normal number for every (seed, absolute frame, channel, step).

Philox4x32-10 (Salmon et al. 2011) hashes the address to uniform bits and the inverse normal CDF maps them, so any
number can be made alone, in any order, on any machine; overlapping windows of one song see the same noise in their
overlap, and a motion does not depend on the batch that made it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

INITIAL: Final = 0xFFFFFFFF
"""Step address of x_T; steps of the sampler use their index."""

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def philox(counter: NDArray[np.uint32], key: tuple[int, int], rounds: int = 10) -> NDArray[np.uint32]:
    """Philox4x32: counters (N, 4) and a 64-bit key as two words -> (N, 4) random words."""
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(rounds):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ np.uint64(k0), p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def gaussian(seed: int, first_frame: int, num_frames: int, channels: int, step: int) -> NDArray[np.float32]:
    """Noise (num_frames, channels) of absolute frames first_frame.. at one step.

    Args:
        seed: 0 <= seed < 2^64.
        step: sampler step index, or `INITIAL`.
    """
    groups = -(-channels // 4)
    counter = np.zeros((num_frames, groups, 4), np.uint32)
    counter[..., 0] = np.arange(first_frame, first_frame + num_frames, dtype=np.uint64).astype(np.uint32)[:, None]
    counter[..., 1] = np.arange(groups, dtype=np.uint32)
    counter[..., 2] = np.uint32(step)
    words = philox(counter.reshape(-1, 4), (seed & 0xFFFFFFFF, seed >> 32))
    uniform = (words.astype(np.float64) + 0.5) / 2**32
    return ndtri(uniform).reshape(num_frames, groups * 4)[:, :channels].astype(np.float32)


def uniform(seed: int, index: int) -> float:
    """A uniform number in (0, 1) for an index of a seed, at addresses that `gaussian` does not use.

    Args:
        seed: 0 <= seed < 2^64.
        index: 0 <= index < 2^32.
    """
    words = philox(np.array([[index, 0, 0, 1]], np.uint32), (seed & 0xFFFFFFFF, seed >> 32))[0]
    high, low = int(words[0]), int(words[1])
    return ((high << 20 | low >> 12) + 0.5) / 2**52
