"""A song decoded by ffmpeg, for what libsndfile cannot read, or stops reading too early.

ffmpeg gets the song as an open descriptor and may open nothing but descriptors, demux and decode nothing but the
listed formats, and is stopped by its own limits of memory, time and messages. It writes its samples into a pipe that
is read block by block, so that a small file of many hours costs no memory.
"""

import contextlib
import math
import os
import re
import struct
import subprocess
import threading
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.ffmpeg import ffmpeg_program
from choreo.music.limits import DECODE_SECONDS, FORMATS, MAX_MEMORY_BYTES
from choreo.music.process_limits import limit_process
from choreo.music.sources import Heading, Unreadable

_DEMUXERS: Final = "aac,aiff,asf,flac,matroska,mov,mp3,ogg,wav"
_DECODERS: Final = (
    "aac,aac_latm,alac,flac,libopus,libvorbis,mp1,mp1float,mp2,mp2float,mp3,mp3float,opus,vorbis,wmalossless,wmapro,"
    "wmav1,wmav2,wmavoice,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,"
    "pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be"
)
_HEADER: Final = struct.Struct(">4sIIIII")
"""Of an AU file, which is what ffmpeg writes: magic, offset of the samples, size, encoding, rate, channels."""
_FLOAT: Final = 6
_MAX_MESSAGES: Final = 1 << 20
_DURATION: Final = re.compile(r"^(?:\[info\] )?  Duration: (\d+):(\d\d):(\d\d\.\d+)", re.MULTILINE)
_INPUT: Final = re.compile(r"^(?:\[info\] )?Input #0, ([a-z0-9]+)", re.MULTILINE)
_ESTIMATED: Final = "Estimating duration from bitrate"
_DAMAGE: Final = re.compile(r"^\[(?!au )[^\]\n]*\] \[error\] (?!Header missing|Codec )|Packet corrupt", re.MULTILINE)
"""Complaints about the song. Tags between joined mp3 files are "Header missing"; decoders of pictures are not allowed;
those of the AU writer concern time stamps, which are not used."""


class FfmpegSource:
    """A song decoded by ffmpeg in a child process.

    Raises:
        Unreadable: ffmpeg finds no audio in it that it can decode.
        MissingDependency: there is no ffmpeg.
    """

    def __init__(self, data: bytes, field: str) -> None:
        program = ffmpeg_program()
        self._field = field
        self._late = threading.Event()
        self._messages = os.fdopen(os.memfd_create("messages"), "w+b")
        descriptor = os.memfd_create("song")
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(data)
            os.lseek(descriptor, 0, os.SEEK_SET)
            self._process = subprocess.Popen(
                _command(program, descriptor),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                pass_fds=(descriptor,),
                env={"PATH": os.defpath, "LC_ALL": "C"},
                cwd="/",
            )
        except BaseException:
            self._messages.close()
            raise
        finally:
            os.close(descriptor)
        self._watchdog = threading.Timer(DECODE_SECONDS, self._stop_late)
        self._watchdog.daemon = True
        self._watchdog.start()
        try:
            with contextlib.suppress(ProcessLookupError):
                limit_process(MAX_MEMORY_BYTES, math.ceil(DECODE_SECONDS), process=self._process.pid)
            self.heading = self._read_heading()
        except BaseException:
            self.close()
            raise

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """All samples, (n, channels).

        Raises:
            Unreadable: ffmpeg was stopped, or ended with an error.
        """
        frame_bytes = 4 * self.heading.channels
        while True:
            data = self._read(self.heading.block_frames * frame_bytes)
            samples = np.frombuffer(data, ">f4", len(data) // frame_bytes * self.heading.channels)
            if not len(samples):
                break
            yield samples.astype(np.float32).reshape(-1, self.heading.channels)
        self._process.wait()
        if self._late.is_set() or self._process.returncode < 0:
            raise Unreadable(self._field, self._reason())

    def claimed_seconds(self) -> float | None:
        """The length that the file states; None where ffmpeg estimated it."""
        said = self._said()
        found = _DURATION.search(said)
        if found is None or _ESTIMATED in said:
            return None
        hours, minutes, seconds = found.groups()
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)

    def left_over(self) -> int:
        """0: ffmpeg reads to the end."""
        return 0

    def damaged(self) -> bool:
        """Whether ffmpeg reported errors; those about the last packet of bare samples are none."""
        return self.heading.format not in ("wav", "aiff") and _DAMAGE.search(self._said()) is not None

    def close(self) -> None:
        """End the process."""
        self._watchdog.cancel()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._messages.close()

    def _stop_late(self) -> None:
        self._late.set()
        self._process.kill()

    def _read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.read(size)

    def _read_heading(self) -> Heading:
        header = self._read(_HEADER.size)
        if len(header) == _HEADER.size:
            magic, offset, _, encoding, rate, channels = _HEADER.unpack(header)
            rest = offset - _HEADER.size
            known = magic == b".snd" and encoding == _FLOAT and 0 <= rest <= 1 << 16 and 0 < channels <= 1 << 10
            if known and rate and len(self._read(rest)) == rest:
                form = _INPUT.search(self._said())
                return Heading(form[1] if form else "unknown", rate, channels)
        self._process.wait()
        raise Unreadable(self._field, self._reason())

    def _reason(self) -> str:
        """Why there are no samples; nothing of what ffmpeg said is repeated, because it may quote the song."""
        if self._late.is_set():
            return f"decoding the audio took longer than {DECODE_SECONDS:g} s"
        said = self._said()
        if "moov atom not found" in said:
            return "the audio is cut off: the index at the end of its m4a file is missing"
        if "matches no streams" in said:
            return "the file holds no audio"
        return f"not audio that can be read; send {FORMATS}"

    def _said(self) -> str:
        return os.pread(self._messages.fileno(), _MAX_MESSAGES, 0).decode("utf-8", "replace")


def _command(program: str, descriptor: int) -> list[str]:
    command = [program, "-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info"]
    command += ["-max_alloc", str(1 << 28), "-protocol_whitelist", "fd"]
    command += ["-format_whitelist", _DEMUXERS, "-codec_whitelist", _DECODERS, "-threads", "1"]
    command += ["-fd", str(descriptor), "-i", "fd:", "-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1"]
    return [*command, "-threads", "1", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
