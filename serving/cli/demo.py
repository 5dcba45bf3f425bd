"""`choreo demo`: the real stack for one dance, then everything stopped."""

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console

from choreo.errors import BackendUnavailable, InvalidInput
from choreo.files import atomic_write
from choreo.motion.clip import Motion
from choreo.motion.formats.formats import Format
from choreo.motion.formats.npz import read_npz
from choreo.music.synth import synthesize_song, write_wav
from serving.cli.report import results_in, write_files
from serving.cli.song_file import song_bytes
from serving.ray.stack import Stack
from serving.settings import Settings
from serving.triton.metrics import counted_rows
from serving.versions import versions

SONG_TEMPO, SONG_SECONDS = 120.0, 12.0
FILES: Final = {"motion.npz": Format.NPZ, "motion.bvh": Format.BVH, "preview.mp4": Format.MP4}


def run_demo(
    song: Path | None,
    text: str,
    duration: float | None,
    seed: int,
    out: Path,
    settings: Settings,
    console: Console,
    stay: bool = False,
) -> dict[str, Any]:
    """Start Triton and Ray Serve, send one request, write `motion.npz`, `motion.bvh`, `preview.mp4`, `report.json`.

    Args:
        stay: go on serving after the files were written, until interrupted.

    Raises:
        InvalidInput: the song does not exist, or the server refused the request.
    """
    data = song_bytes(song, settings) if song is not None else _synthesised()
    name = song.name if song is not None else "synthesised.wav"
    with ExitStack() as running:
        with results_in(out, list(FILES.values())) as part:
            began = time.perf_counter()
            with console.status("starting Triton and Ray Serve"):
                stack = running.enter_context(Stack(settings))
            start = time.perf_counter() - began
            with console.status("dancing"), counted_rows(stack.triton) as counted:
                motion, headers = _request(stack.url, name, data, text, duration, seed, settings)
                counts = counted(motion.meta["model"], motion.meta["rows"])
            if not stay:
                with console.status("stopping"):
                    running.close()
            document = _document(motion, out, _stages(headers) | {"start": round(start, 2)})
            began = time.perf_counter()
            write_files(motion, part, FILES, data, text)
            document["seconds"]["write"] = round(time.perf_counter() - began, 2)
            full = document | {"versions": versions(), "triton": {"nv_inference_count": counts}, "meta": motion.meta}
            atomic_write(part / "report.json", (json.dumps(full, indent=1) + "\n").encode())
        if stay:
            console.print(
                f"the studio is ready at {stack.url}/studio  Ctrl-C stops it", highlight=False, soft_wrap=True
            )
            stack.wait()
    return document | {"files": [*document["files"], str(out / "report.json")]}


def _request(
    url: str, name: str, song: bytes, text: str, duration: float | None, seed: int, settings: Settings
) -> tuple[Motion, httpx.Headers]:
    fields = {"text_prompt": text, "seed": str(seed), "format": "npz"}
    if duration is not None:
        fields["duration"] = str(duration)
    answer = httpx.post(
        f"{url}/v1/generate",
        data=fields,
        files={"audio": (name, song)},
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


def _synthesised() -> bytes:
    """A song as a file."""
    with tempfile.TemporaryDirectory(prefix="choreo-demo-") as scratch:
        path = Path(scratch) / "song.wav"
        samples, rate, _ = synthesize_song(SONG_TEMPO, SONG_SECONDS)
        write_wav(path, samples, rate)
        return path.read_bytes()


def _document(motion: Motion, out: Path, seconds: dict[str, float]) -> dict[str, Any]:
    return {
        "files": [str(out / name) for name in FILES],
        "num_frames": motion.num_frames,
        "fps": motion.fps,
        "seed": motion.meta["seed"],
        "model": motion.meta["model"],
        "notes": motion.meta["notes"],
        "prior": motion.meta["prior"],
        "phrases": motion.meta["phrases"],
        "seconds": seconds,
    }
