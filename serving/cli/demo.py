"""`choreo demo`: the real stack for one dance, then everything stopped."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from choreo.errors import BackendUnavailable, InvalidInput
from choreo.files import atomic_write
from choreo.motion.clip import Motion
from choreo.motion.formats.formats import Format, write
from choreo.motion.formats.npz import read_npz
from choreo.music.synth import synthesize_song, write_wav
from serving.ray.stack import Stack
from serving.settings import Settings
from serving.triton.metrics import counted_rows
from serving.versions import versions

SONG_TEMPO, SONG_SECONDS = 120.0, 12.0


def run_demo(
    song: Path | None, text: str, duration: float | None, seed: int, out: Path, settings: Settings, console: Console
) -> dict[str, Any]:
    """Start Triton and Ray Serve, send one request, write `motion.npz`, `motion.bvh`, `preview.mp4`, `report.json`.

    Raises:
        InvalidInput: the song does not exist, or the server refused the request.
    """
    if song is not None and not song.is_file():
        raise InvalidInput("song", f"{song} does not exist")
    with tempfile.TemporaryDirectory(prefix="choreo-demo-") as scratch:
        if song is None:
            song = Path(scratch) / "synthesised.wav"
            samples, rate, _ = synthesize_song(SONG_TEMPO, SONG_SECONDS)
            write_wav(song, samples, rate)
        began = time.perf_counter()
        with console.status("starting Triton and Ray Serve"):
            stack = Stack(settings).__enter__()
        try:
            start = time.perf_counter() - began
            with console.status("dancing"), counted_rows(stack.triton) as counted:
                motion, headers = _request(stack.url, song, text, duration, seed, settings)
                counts = counted(motion.meta["model"], motion.meta["rows"])
        finally:
            with console.status("stopping"):
                stack.__exit__(None, None, None)
        document = _write(motion, song, text, out, _stages(headers) | {"start": round(start, 2)})
    full = document | {"versions": versions(), "triton": {"nv_inference_count": counts}, "meta": motion.meta}
    atomic_write(out / "report.json", (json.dumps(full, indent=1) + "\n").encode())
    return document | {"files": [*document["files"], str(out / "report.json")]}


def _request(
    url: str, song: Path, text: str, duration: float | None, seed: int, settings: Settings
) -> tuple[Motion, httpx.Headers]:
    fields = {"text_prompt": text, "seed": str(seed), "format": "npz"}
    if duration is not None:
        fields["duration"] = str(duration)
    with song.open("rb") as file:
        answer = httpx.post(
            f"{url}/v1/generate",
            data=fields,
            files={"audio": (song.name, file)},
            timeout=settings.request_timeout_s + 10,
            trust_env=False,
        )
    if answer.status_code != 200:
        problem = answer.json()
        if 400 <= answer.status_code < 500:
            raise InvalidInput(problem.get("field", "request"), problem.get("detail", answer.reason_phrase))
        raise BackendUnavailable(f"the server answered {answer.status_code}: {problem.get('detail', '')}")
    return read_npz(answer.content), answer.headers


def _stages(headers: httpx.Headers) -> dict[str, float]:
    """Seconds per stage from `Server-Timing: stage;dur=milliseconds, ...`."""
    out = {}
    for entry in headers.get("server-timing", "").split(","):
        stage, _, value = entry.strip().partition(";dur=")
        if value:
            out[stage] = round(float(value) / 1000, 3)
    return out


def _write(motion: Motion, song: Path, text: str, out: Path, seconds: dict[str, float]) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    files = []
    began = time.perf_counter()
    for fmt, name in ((Format.NPZ, "motion.npz"), (Format.BVH, "motion.bvh"), (Format.MP4, "preview.mp4")):
        write(motion, fmt, out / name, song if fmt.needs_audio else None, text)
        files.append(str(out / name))
    return {
        "files": files,
        "num_frames": motion.num_frames,
        "fps": motion.fps,
        "seed": motion.meta["seed"],
        "model": motion.meta["model"],
        "prior": motion.meta["prior"],
        "phrases": motion.meta["phrases"],
        "seconds": seconds | {"write": round(time.perf_counter() - began, 2)},
    }
