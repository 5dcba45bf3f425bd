"""Songs as encoders and damaged downloads leave them, made by ffmpeg and by surgery on bytes."""

import subprocess
import tempfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile

RATE = 44_100
ID3 = b"ID3\x03\0\0\0\0\x07\x68" + b"TIT2\0\0\0\5\0\0\0Song" + b"\0" * 985
"""An ID3v2 tag."""


def drums(seconds: float = 8.0, rate: int = RATE) -> np.ndarray:
    """Mono drums (N,) at 120 BPM over a little noise: no two seconds are equal, so lags show."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(len(t))
    return 0.5 * np.sin(2 * np.pi * 70 * t) * np.exp(-12 * (t % 0.5)) + 0.05 * noise


def wav(samples: np.ndarray, rate: int = RATE, form: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """Samples (N,) or (N, C) as a file that libsndfile writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song"
        soundfile.write(path, samples, rate, format=form, subtype=subtype)
        return path.read_bytes()


def encoded(samples: np.ndarray, suffix: str, *options: str, rate: int = RATE) -> bytes:
    """Samples as a file that ffmpeg writes, in the format of a suffix."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.wav", Path(folder) / f"target{suffix}"
        source.write_bytes(wav(samples, rate))
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(source), *options, str(target)]
        subprocess.run(command, check=True)
        return target.read_bytes()
