"""Feet of eight ordinary requests before and after finishing, beside held-out mocap.

Requests are prompts with synthesised songs or without, seed 0. `network` is what the network made, before finishing;
`finished` is what callers get; `mocap` are the recordings of the validation and test splits. `slide` is the mean speed
of toes that are on the floor. `milliseconds per window` is the median time of finishing, per 196 frames.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from bench.bodies import RAW, TIMEOUT_S, held_out
from bench.command import DATA, benchmark, quick
from bench.report import Row, skipped
from choreo.command_line import say
from choreo.evaluation.foot_height import foot_float_cm, foot_penetration_cm
from choreo.evaluation.kinematics import jerk, kinetic_energy
from choreo.motion.foot_skating import HEIGHT, foot_skating_ratio
from choreo.motion.skeleton import FPS, L_FOOT, R_FOOT, WINDOW
from choreo.motion.travel import travel
from choreo.music.synth import synthesize_song, write_wav
from choreo.postprocess.finish import finish
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline

REQUESTS: Final[Mapping[str, tuple[str, float | None]]] = {
    "demo": ("a dancer performs a cha-cha, with turns", 120.0),
    "hip-hop": ("a person dances hip hop", 92.0),
    "salsa": ("an energetic salsa", 166.0),
    "slow waltz": ("a slow waltz", 87.0),
    "walking": ("a person walks forward", None),
    "jumping and kicking": ("a person jumps and kicks", None),
    "ballet": ("ballet, slow and graceful", 108.0),
    "street dance": ("street dance", 108.0),
}
"""Prompt, and tempo of the song, BPM; None: no song."""
SEED: Final = 0
Positions = NDArray[np.floating]


def slide(positions: Positions) -> float:
    """Mean horizontal speed of toes that stay below HEIGHT, m/s; 0 if none does."""
    toes = np.asarray(positions, np.float64)[:, [L_FOOT, R_FOOT]]
    low = toes[..., 1] < HEIGHT
    speed = np.linalg.norm(np.diff(toes[..., [0, 2]], axis=0), axis=-1) * FPS
    both = low[1:] & low[:-1]
    return float(speed[both].mean()) if both.any() else 0.0


METRICS: Final[Mapping[str, tuple[Callable[[Positions], float], str]]] = {
    "foot skating": (foot_skating_ratio, "share"),
    "slide": (slide, "m/s"),
    "float": (foot_float_cm, "cm"),
    "penetration": (foot_penetration_cm, "cm"),
    "travel": (travel, "m"),
    "kinetic energy": (kinetic_energy, "m2/s2"),
    "jerk": (jerk, "m/s3"),
}


@benchmark
def main(
    data: Annotated[Path | None, DATA] = None,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Length of each dance.")] = 10.0,
    presets: Annotated[str, typer.Option(help="Presets, separated by commas.")] = "reference,fast",
    short: Annotated[bool, quick("two requests of 2 s, preset fast")] = False,
) -> Iterator[Row]:
    """Figures of each request, their means, then those of mocap."""
    for preset in ("fast",) if short else tuple(presets.split(",")):
        wanted = dict(list(REQUESTS.items())[:2]) if short else REQUESTS
        dances = asyncio.run(danced(wanted, 2.0 if short else seconds, preset))
        found: dict[str, list[list[float]]] = {"network": [], "finished": []}
        for name, raw in dances.items():
            for state, positions in (("network", raw), ("finished", finish(raw).motion.positions)):
                found[state].append(measured(positions))
                yield from _rows(f"{preset}, {name}, {state}", found[state][-1])
        for state, values in found.items():
            yield from _rows(f"{preset}, mean, {state}", np.mean(values, axis=0).tolist())
        yield Row(f"{preset}, finished", "milliseconds per window", _milliseconds(list(dances.values())), "ms")
    if data is None:
        yield skipped("mocap", "give --data")
    else:
        recorded = [measured(positions) for positions in held_out(data)]
        yield from _rows("mocap, mean", np.mean(recorded, axis=0).tolist())


async def danced(wanted: Mapping[str, tuple[str, float | None]], seconds: float, preset: str) -> dict[str, Positions]:
    """What the network makes of each request: (T, 22, 3), metres."""
    settings, out = Settings(), {}
    async with LocalPipeline(settings) as pipeline:
        for name, (prompt, tempo) in wanted.items():
            say(f"{preset}: {name}")
            fields: dict[str, Any] = {"seed": SEED, "duration": seconds, "preset": preset, "timeout": TIMEOUT_S}
            parts = Attachments(audio=None if tempo is None else _song(tempo, seconds))
            request = validated_request(parse_fields(fields | RAW | {"text_prompt": prompt}), parts, settings)
            out[name] = (await pipeline.run(request)).motion.positions
    return out


def measured(positions: Positions) -> list[float]:
    """The values of METRICS."""
    return [metric(positions) for metric, _ in METRICS.values()]


def _rows(case: str, values: list[float]) -> Iterator[Row]:
    for (name, (_, unit)), value in zip(METRICS.items(), values, strict=True):
        yield Row(case, name, round(value, 4), unit)


def _song(tempo: float, seconds: float) -> bytes:
    samples, rate, _ = synthesize_song(tempo, seconds + 2.0)
    with tempfile.TemporaryDirectory(prefix="choreo-feet-") as scratch:
        path = Path(scratch) / "song.wav"
        write_wav(path, samples, rate)
        return path.read_bytes()


def _milliseconds(dances: list[Positions]) -> float:
    times = []
    for positions in dances * 3:
        began = time.perf_counter()
        finish(positions)
        times.append(1e3 * (time.perf_counter() - began) * WINDOW / len(positions))
    return round(float(np.median(times)), 2)


if __name__ == "__main__":
    sys.exit(main())
