"""What a song may be: the formats that are accepted, and every bound of decoding."""

from typing import Final

FORMATS: Final = "wav, flac, ogg, mp3, aiff, m4a, aac, opus, webm or wma"
"""For messages and help texts."""
MAX_SECONDS: Final = 600.0
MIN_SECONDS: Final = 0.1
MAX_SOURCE_BYTES: Final = 200_000_000
MAX_CHANNELS: Final = 16
MIN_SOURCE_RATE: Final = 4_000
MAX_SOURCE_RATE: Final = 384_000
MAX_AMPLITUDE: Final = 1e5
"""Full scale is 1. Float files scaled like 16-bit integers are accepted; spectra stay within the range of float32."""
DECODE_SECONDS: Final = 60.0
"""Longest time that decoding one song may take."""
MAX_MEMORY_BYTES: Final = 2 << 30
"""Address space of a process that decodes; an interpreter and its libraries take about a quarter of it."""
