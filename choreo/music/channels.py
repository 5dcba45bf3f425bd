"""Which channels of a song are heard, and how they are mixed to one or two.

The plain mean of all channels is wrong where two of them cancel (inverted stereo becomes silence or rounding noise) and
too quiet where some are silent (mono in 5.1), so channels are measured while they are decoded.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SILENT_POWER: Final = 1e-8
"""Mean square of what counts as silence, -80 dBFS."""
_DEAD: Final = 1e-6
"""Power below that of the loudest channel at which a channel is silent, -60 dB."""
_CANCELLING: Final = -0.8
"""Correlation of two channels whose sum has less than a fifth of the power of unrelated ones. Recorded music stays
above -0.3 in every second."""
_COMPARABLE: Final = 1 / 16
"""Ratio of powers, -12 dB, below which one channel takes nothing from the other by cancelling it."""
_SHARE: Final = 0.05
"""Share of the seconds with sound in which channels must cancel."""


class ChannelSurvey:
    """Power and correlation of channels, counted block by block; constant offsets do not count.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        self._energy = np.zeros(channels)
        self._together = np.zeros((channels, channels))
        self._against = np.zeros((channels, channels))
        self._frames = 0
        self.peak = 0.0

    def add(self, block: NDArray[np.float32]) -> None:
        """Count a block (n, C) of about a second."""
        self.peak = max(self.peak, float(np.abs(block).max()))
        moving = block - block.mean(axis=0, dtype=np.float64).astype(np.float32)
        products = (moving.T @ moving).astype(np.float64) / len(block)
        power = np.diag(products)
        self._energy += power * len(block)
        self._frames += len(block)
        louder, quieter = np.maximum.outer(power, power), np.minimum.outer(power, power)
        both = (quieter > SILENT_POWER) & (quieter > _COMPARABLE * louder)
        against = both & (products < _CANCELLING * np.sqrt(np.outer(power, power)))
        sounds = louder > SILENT_POWER
        self._together[sounds] += len(block)
        self._against[against] += len(block)

    @property
    def dead(self) -> list[int]:
        """Channels that are silent while others sound."""
        power = self._energy / max(1, self._frames)
        if power.max(initial=0) <= SILENT_POWER:
            return []
        return [int(i) for i in np.flatnonzero(power < _DEAD * power.max())]

    @property
    def cancelled(self) -> list[tuple[int, int, float]]:
        """(channel to leave out, louder channel that it cancels, share of the seconds with sound) of each such pair."""
        out: list[tuple[int, int, float]] = []
        # Of channels that are equally loud but for rounding, the first one is kept on every processor.
        loudness = np.round(self._energy / max(float(self._energy.max()), 1e-30), 6)
        order = [int(i) for i in np.argsort(-loudness, kind="stable")]
        kept: list[int] = []
        for channel in order:
            shares = [(float(self._against[channel, k] / max(1, self._together[channel, k])), k) for k in kept]
            share, louder = max(shares, default=(0.0, -1))
            if share >= _SHARE:
                out.append((channel, louder, share))
            else:
                kept.append(channel)
        return out

    def heard(self) -> list[int]:
        """Channels to mix, in order."""
        left_out = {*self.dead, *(channel for channel, _, _ in self.cancelled)}
        return [i for i in range(len(self._energy)) if i not in left_out]

    def notes(self, left_out: bool = True) -> list[str]:
        """What a listener should know of channels that are silent or cancel, and whether they are left out."""
        count, dead = len(self._energy), self.dead
        notes = []
        if dead and count == 2:
            alone = f"; the {_name(1 - dead[0], 2)} one is used alone" if left_out else ""
            notes.append(f"the {_name(dead[0], 2)} channel is silent{alone}")
        elif dead:
            notes.append(f"{len(dead)} of {count} channels are silent{'; the others are used' if left_out else ''}")
        for channel, louder, share in self.cancelled:
            if channel not in dead:
                pair = " and ".join(_name(i, count) for i in sorted((channel, louder)))
                part = "" if share > 0.95 else f" for {100 * share:.0f} % of the time"
                without = f"; {_name(channel, count)} is left out" if left_out else ""
                notes.append(f"channels {pair} cancel each other{part}{without}")
        return notes


def _name(channel: int, count: int) -> str:
    return ("left", "right")[channel] if count == 2 else str(channel + 1)


def to_mono(block: NDArray[np.float32], heard: list[int]) -> NDArray[np.float32]:
    """(n, C) to the mean (n, 1) of the channels that are heard."""
    part = block if len(heard) == block.shape[1] else block[:, heard]
    return part.mean(axis=1, dtype=np.float32, keepdims=True)


def to_stereo(block: NDArray[np.float32], heard: list[int]) -> NDArray[np.float32]:
    """(n, C) to left and right (n, 2).

    Channels are taken to be in the order of WAVE files: left, right, centre, low frequencies, then pairs behind. None
    gets louder, and what is on one side only because all else is silent is put on both.
    """
    if len(heard) == 1:
        return np.repeat(block[:, heard], 2, axis=1)
    if block.shape[1] == 2:
        return block
    gains = np.zeros((block.shape[1], 2), np.float32)
    for channel in heard:
        gains[channel] = _PLACES[channel] if channel < len(_PLACES) else _PLACES[4 + channel % 2]
    if not gains.any(axis=0).all():
        gains[heard] = 1
    return block @ (gains / np.maximum(gains.sum(axis=0), 1))


_PLACES: Final = ((1.0, 0.0), (0.0, 1.0), (0.7, 0.7), (0.5, 0.5), (0.7, 0.0), (0.0, 0.7))
"""Gains into left and right by position, as ITU-R BS.775 mixes surround to stereo."""
