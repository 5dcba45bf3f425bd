"""What a finished request is reported as: files, facts and timings."""

from pathlib import Path
from typing import Any

from choreo.motion.formats.formats import Format, write
from serving.pipeline.contracts import Result


def report(result: Result, files: list[Path]) -> dict[str, Any]:
    """The JSON document of `choreo generate --json`."""
    return {
        "files": [str(f) for f in files],
        "num_frames": result.motion.num_frames,
        "fps": result.motion.fps,
        "seed": result.seed,
        "model": result.model,
        "prior": result.retrieved.document(),
        "phrases": result.retrieved.phrases(),
        "seconds": result.seconds,
    }


def write_files(result: Result, folder: Path, formats: list[Format], song: Path | None, title: str) -> list[Path]:
    """Write the motion in each format as `motion.*`; the film is `preview.mp4`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for fmt in formats:
        path = folder / f"{'preview' if fmt.needs_audio else 'motion'}{fmt.suffix}"
        write(result.motion, fmt, path, song if fmt.needs_audio else None, title)
        files.append(path)
    return files
