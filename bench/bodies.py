"""Frames that no body dances, in generated dances and in held-out mocap.

Dances have default settings, seeds 0, 1, 2, ..., and take the songs of the data set and twenty prompts in turn: a third
of them both, a third a song, a third a prompt. `network` is what the network made, before finishing; `finished` is what
callers get; `mocap` are the recordings of the validation and test splits. Counts are those of
`choreo.evaluation.impossible_frames`; `milliseconds per window` is the median time of finishing, per 196 frames.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from bench.command import DATA, benchmark
from bench.report import Row
from choreo.command_line import say
from choreo.data.datasets import open_dataset
from choreo.data.splits.split import TRAINING
from choreo.diffusion.presets import PRESETS
from choreo.errors import InvalidInput
from choreo.evaluation.impossible_frames import ImpossibleFrames, impossible_frames
from choreo.motion.representation import decode
from choreo.motion.skeleton import WINDOW
from choreo.music.song_names import SUFFIXES
from choreo.postprocess.finish import finish
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline

PROMPTS: Final = (
    "a person dances hip hop", "ballet, slow and graceful", "an energetic salsa", "break dance with spins", "a waltz",
    "jumping to the beat", "someone waves both arms", "samba", "contemporary dance, floor work", "robot dance",
    "tap dance", "a dancer turns around quickly", "disco moves", "house dance, fast feet", "a calm swaying",
    "kicks and punches", "krump", "indian classical dance", "locking and popping", "a joyful folk dance",
)  # fmt: skip
TIMEOUT_S: Final = 600.0
RAW: Final = {"smooth": False, "bone_lengths": False, "foot_lock": False, "on_beat": False}


@dataclass
class Found:
    """What was counted so far."""

    network: list[ImpossibleFrames] = field(default_factory=list)
    finished: list[ImpossibleFrames] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)


@benchmark
def main(
    data: Annotated[Path, DATA],
    dances: Annotated[int, typer.Option(min=1, max=10_000, help="Number of dances.")] = 60,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Length of each.")] = 10.0,
    preset: Annotated[str, typer.Option(help=f"One of {', '.join(PRESETS)}.")] = "reference",
    first_seed: Annotated[int, typer.Option(min=0, max=2**31, help="Seed of the first dance.")] = 0,
) -> Iterator[Row]:
    """Counts of dances, then of mocap."""
    songs = sorted(path for path in (data / "audio").glob("*") if path.suffix.lower() in SUFFIXES)
    if not songs:
        raise InvalidInput("data", f"{data / 'audio'} holds no songs")
    mocap = [impossible_frames(positions) for positions in held_out(data)]
    fields = [requested(first_seed + number, seconds, preset) for number in range(dances)]
    found = asyncio.run(danced(fields, songs))
    for name, counts in (("network", found.network), ("finished", found.finished), ("mocap", mocap)):
        total = ImpossibleFrames.over(counts)
        yield Row(name, "length", round(total.seconds, 1), "s")
        yield Row(name, "trunk turns by more than 45 degrees", total.trunk_turns, "frames")
        yield Row(name, "joint faster than 12 m/s", total.fast_joints, "frames")
        yield Row(name, "elbow below 25 degrees", total.folded_elbows, "frames")
    yield Row("finished", "milliseconds per window", round(float(np.median(found.milliseconds)), 2), "ms")


def requested(seed: int, seconds: float, preset: str) -> dict[str, object]:
    """Fields of one request; every third one has no prompt, and the next one no song."""
    fields: dict[str, object] = {"seed": seed, "duration": seconds, "preset": preset, "timeout": TIMEOUT_S}
    return fields if seed % 3 == 1 else fields | {"text_prompt": PROMPTS[seed % len(PROMPTS)]}


async def danced(wanted: list[dict[str, object]], songs: list[Path]) -> Found:
    """Generate the dances as the network made them, and finish them here."""
    settings, found = Settings(), Found()
    async with LocalPipeline(settings) as pipeline:
        for number, fields in enumerate(wanted):
            say(f"dance {number + 1} of {len(wanted)}")
            seed = int(str(fields["seed"]))
            song = songs[seed % len(songs)].read_bytes() if seed % 3 != 2 else None
            parts = Attachments(audio=song)
            requests = [validated_request(parse_fields(each), parts, settings) for each in (fields | RAW, fields)]
            raw, finished = [(await pipeline.run(request)).motion.positions for request in requests]
            began = time.perf_counter()
            finish(raw)
            found.milliseconds.append(1e3 * (time.perf_counter() - began) * WINDOW / len(raw))
            found.network.append(impossible_frames(raw))
            found.finished.append(impossible_frames(finished))
    return found


def held_out(data: Path) -> Iterator[np.ndarray]:
    """Positions of the recordings that are not for training."""
    dataset = open_dataset(data)
    keys = [key for part, keys in dataset.split().parts.items() if part != TRAINING for key in keys]
    for clip in dataset.clips(tuple(keys)):
        yield decode(clip.features)


if __name__ == "__main__":
    sys.exit(main())
