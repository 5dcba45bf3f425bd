"""A second of two tones that pulse, for comparing spectra with published software."""

import numpy as np


def pulses(sample_rate: int) -> np.ndarray:
    """float32 (sample_rate,): 220 Hz four times, and 1760 Hz with every second of them."""
    t = np.arange(sample_rate) / sample_rate
    low = 0.4 * np.sin(2 * np.pi * 220 * t) * (t % 0.25 < 0.05)
    return (low + 0.2 * np.sin(2 * np.pi * 1760 * t) * (t % 0.5 < 0.03)).astype(np.float32)
