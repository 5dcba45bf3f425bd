"""What the bytes of a song say of its length: how much they promise, and whether they end in the middle.

Decoders do not tell: libsndfile cuts the count of a header to what the file holds, and both of them take a stream that
breaks off for one that ends.
"""

import struct
from typing import Final

_STREAMED: Final = 0x7FFF0000
"""Sizes from here on were written by programs that did not know the length."""
_ASF_PROPERTIES: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_WINDOW: Final = 1 << 16
_LATEST_START: Final = 1 << 22
"""How far into a file the first frame of an mp3 is looked for."""
_MP3_BITRATES: Final = {  # kbit/s by (MPEG 1, layer): ISO 11172-3 2.4.2.3 and 13818-3 2.4.2.3
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_CHAIN: Final = 3
"""Frames that must follow one another for bytes to be taken for MPEG audio."""


def promised_share(data: bytes) -> float:
    """Bytes of sound that the file says it has over those that it has: 1 for a whole file, 2 for half of one.

    Known of wav, aiff and wma, whose headers count bytes; 1 for everything else.
    """
    start = _behind_tags(data)
    found = None
    if data[start : start + 4] in (b"RIFF", b"RF64", b"RIFX"):
        found = _chunk(data, start + 12, b"data", "big" if data[start : start + 4] == b"RIFX" else "little")
        if found is not None and found[1] >= _STREAMED:
            found = (found[0], _rf64_size(data)) if data[start : start + 4] == b"RF64" else None
    elif data[start : start + 4] == b"FORM":
        found = _chunk(data, start + 12, b"SSND", "big")
    elif (at := data.find(_ASF_PROPERTIES, 0, _WINDOW)) >= 0 and len(data) >= at + 48:
        found = (0, struct.unpack_from("<Q", data, at + 40)[0])
    if found is None or found[1] == 0:
        return 1.0
    position, size = found
    return max(1.0, size / max(1, min(size, len(data) - position)))


def ends_abruptly(data: bytes, form: str) -> bool:
    """Whether an Ogg or MPEG audio stream lacks its end: no last page, or half a frame behind whole ones.

    Args:
        form: name that a decoder gave the format.
    """
    form = form.lower()
    return _ogg_is_cut(data) if form == "ogg" else _mpeg_is_cut(data) if form in ("mp3", "mpeg") else False


def has_frame_count(data: bytes) -> bool:
    """Whether the first frame of an mp3 states the number of frames (Xing, Info or VBRI)."""
    start = _behind_tags(data)
    return any(name in data[start : start + 256] for name in (b"Xing", b"Info", b"VBRI"))


def _behind_tags(data: bytes) -> int:
    """Where the file begins behind ID3v2 tags."""
    start = 0
    while data[start : start + 3] == b"ID3" and len(data) >= start + 10:
        size = 0
        for byte in data[start + 6 : start + 10]:
            size = size << 7 | (byte & 0x7F)
        start += 10 + size
    return start


def _chunk(data: bytes, at: int, name: bytes, order: str) -> tuple[int, int] | None:
    """Position and size of the content of a RIFF or IFF chunk."""
    form = "<I" if order == "little" else ">I"
    while at + 8 <= len(data):
        size = struct.unpack_from(form, data, at + 4)[0]
        if data[at : at + 4] == name:
            return at + 8, size
        at += 8 + size + (size & 1)
    return None


def _rf64_size(data: bytes) -> int:
    """Size of the sound in an RF64 file, whose own chunk has room for 32 bits only."""
    found = _chunk(data, 12, b"ds64", "little")
    return struct.unpack_from("<Q", data, found[0] + 8)[0] if found and len(data) >= found[0] + 16 else 0


def _ogg_is_cut(data: bytes) -> bool:
    at = data.rfind(b"OggS")
    if len(data) < at + 27 or len(data) < at + 27 + data[at + 26]:
        return True
    segments = data[at + 27 : at + 27 + data[at + 26]]
    whole = len(data) >= at + 27 + len(segments) + sum(segments)
    return not (whole and data[at + 5] & 4)


def _mpeg_is_cut(data: bytes) -> bool:
    """Whether a chain of frames near the end of the data leads to a frame that is not all there."""
    found = _mpeg_chain(data, max(0, len(data) - _WINDOW), len(data))
    return found is not None and 0 < len(data) - found[1] < _mpeg_frame_bytes(data[found[1] : found[1] + 4])


def mpeg_start(data: bytes) -> int:
    """Where the first frame of an mp3 begins behind tags, padding or other bytes; 0 where none is found."""
    start = _behind_tags(data)
    found = _mpeg_chain(data, start, start + _LATEST_START)
    return found[0] if found else 0


def _mpeg_chain(data: bytes, first: int, last: int) -> tuple[int, int] | None:
    """Where the first chain of MPEG audio frames that begins in a range of the data starts and ends."""
    at = first
    while (at := data.find(b"\xff", at, last)) >= 0:
        position, count, stream = at, 0, _mpeg_stream(data, at)
        while (size := _mpeg_frame_bytes(data[position : position + 4])) and _mpeg_stream(data, position) == stream:
            if position + size > len(data):
                break
            position, count = position + size, count + 1
        if count >= _CHAIN:
            return at, position
        at += 1
    return None


def _mpeg_stream(data: bytes, at: int) -> tuple[int, ...]:
    """What the headers of all frames of one stream have in common: version, layer and sampling rate."""
    return tuple(byte & mask for byte, mask in zip(data[at : at + 3], (0xFF, 0xFE, 0x0C), strict=False))


def _mpeg_frame_bytes(header: bytes) -> int:
    """Size of the frame of an MPEG audio layer 1 to 3 header; 0 if it is none, or of free format."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0
    bits = 1000 * _MP3_BITRATES[version == 3, layer][bitrate - 1]
    hertz = (44_100, 48_000, 32_000)[rate] >> (0 if version == 3 else 1 if version == 2 else 2)
    padding = header[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // hertz + padding
