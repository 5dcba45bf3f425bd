"""Duets: followers that models make for the leaders of test couples, beside the true ones and controls.

Controls are a partner of another couple, the own partner a second late, the leader's image in a mirror, and the partner
of the training couple that the leader is like (nearest stretches of two seconds, put at the leader's place).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray

from bench.command import DATA, benchmark, quick
from bench.report import Row
from choreo.data.couple import Couple
from choreo.data.couples import mirror_partner, read_couples
from choreo.data.splits.split import TEST, TRAINING
from choreo.errors import InvalidInput
from choreo.evaluation.couples import (
    beat_echo,
    contact_share,
    cross_distances,
    distance_shift,
    distances,
    div_cd,
    fid_cd,
    heading_correlation,
    penetration_share,
)
from choreo.generators.base import Conditioning, GenerationRequest, Tensors, run, zeros
from choreo.generators.checkpoint import load_generator
from choreo.generators.registry import generator, generator_class
from choreo.motion.clip import Motion
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.kinematic_beats import joint_speed
from choreo.motion.pose_states import Ground, positions_of, states_of
from choreo.motion.representation import decode
from choreo.motion.skeleton import FPS
from choreo.postprocess.finish import finish

Array = NDArray[np.float64]

LATE: Final = FPS
"""Frames of the control who is late."""
STRETCH: Final = 2 * FPS
"""Frames that the nearest training couple is looked for by."""
HOP: Final = 5


@benchmark
def main(
    data: Annotated[Path, DATA],
    checkpoint: Annotated[list[Path] | None, typer.Option(help="Checkpoint of a duet model; repeatable.")] = None,
    part: Annotated[str, typer.Option(help="Part of the split: test for final figures, or val.")] = TEST,
    seed: Annotated[int, typer.Option(min=0, help="Of what is made.")] = 0,
    quick: Annotated[bool, quick("three seconds of each couple")] = False,
) -> Iterator[Row]:
    """Every metric of each case."""
    parts = read_couples(data).parts
    if not (couples := parts.get(part, ())):
        raise InvalidInput("part", f"has no couples: {part[:32]}")
    true = [couple.dancers[:, : 3 * FPS] if quick else couple.dancers for couple in couples]
    cases = {"true": true} | controls(true, parts.get(TRAINING, ()))
    for folder in checkpoint or ():
        name, raw = followed(folder, [both[0] for both in true], seed)
        cases[f"{name}, raw"] = raw
        cases[name] = [np.stack([both[0], finish(both[1]).motion.positions]) for both in raw]
    for name, some in cases.items():
        for metric, (value, unit) in measured(some, true).items():
            yield Row(name, metric, None if value is None else round(value, 4), unit)


def followed(folder: Path, leaders: Sequence[Array], seed: int) -> tuple[str, list[Array]]:
    """Name of the model in a folder, and couples of leaders (T, 22, 3) with its followers, without post-processing.

    Raises:
        InvalidInput: it is no duet model.
    """
    network = load_generator(folder)
    spec = network.spec
    if not generator_class(spec.family).learns_couples:
        raise InvalidInput("checkpoint", f"{folder} is no duet model")
    motions = [Motion(leader.astype(np.float32)) for leader in leaders]
    model = generator(spec)
    made = [model.begin(GenerationRequest(leader=m, seed=seed), Conditioning(m.num_frames)) for m in motions]

    def inputs_of(graph: str, rows: int) -> Tensors:
        return zeros(spec.graph(graph), rows)

    run(made, network.evaluate, inputs_of)
    return spec.name, [np.stack([decode(dancer) for dancer in trajectory.result()]) for trajectory in made]


def controls(true: Sequence[Array], training: Sequence[Couple]) -> dict[str, list[Array]]:
    """The leaders with partners who do not follow them."""
    out: dict[str, list[Array]] = {}
    if len(true) > 1:
        others = [*true[1:], true[0]]
        frames = [min(a.shape[1], b.shape[1]) for a, b in zip(true, others, strict=True)]
        out["partner of another"] = [
            np.stack([a[0, :n], b[1, :n]]) for a, b, n in zip(true, others, frames, strict=True)
        ]
    out["a second late"] = [np.stack([both[0, LATE:], both[1, :-LATE]]) for both in true]
    out["mirror image"] = [np.stack([both[0], mirror_partner(both[0])]) for both in true]
    if training:
        out["nearest training partner"] = [np.stack([both[0], nearest_partner(both[0], training)]) for both in true]
    return out


def nearest_partner(leader: Array, training: Sequence[Couple]) -> Array:
    """Partners (T, 22, 3) from the training couples whose leaders move as this one does, two seconds after two seconds.

    Stretches are compared and put in the axes of the leader's place and heading in their first frames, and not blended.
    """
    known = []
    for couple in training:
        lead, states = couple.dancers[0], states_of(couple.dancers[1])
        for start in range(0, couple.num_frames - STRETCH + 1, HOP):
            ground, span = Ground.below(lead[start]), slice(start, start + STRETCH)
            known.append((ground.seen(lead[span]), ground.seen_states(states[span])))
    if not known:
        raise InvalidInput("data", f"has no training couple of {STRETCH} frames")
    described = np.stack([seen[::HOP].reshape(-1) for seen, _ in known])
    parts = []
    for start in range(0, len(leader), STRETCH):
        first = min(start, max(len(leader) - STRETCH, 0))
        ground = Ground.below(leader[first])
        seen = ground.seen(leader[first : first + STRETCH])[::HOP].reshape(-1)
        nearest = int(((described[:, : len(seen)] - seen) ** 2).sum(axis=1).argmin())
        partner = positions_of(ground.world_states(known[nearest][1]))
        parts.append(partner[start - first : start - first + min(STRETCH, len(leader) - start)])
    return np.concatenate(parts)


def measured(couples: Sequence[Array], true: Sequence[Array]) -> Mapping[str, tuple[float | None, str]]:
    """Metrics of couples and their units; means over couples, but for those of all frames together."""
    features, reference = (np.concatenate([cross_distances(both) for both in some]) for some in (couples, true))
    apart, real = (np.concatenate([distances(both) for both in some]) for some in (couples, true))
    echoes = [echo for both in couples if (echo := beat_echo(both)) is not None]

    def mean(values: Sequence[float]) -> float | None:
        return float(np.mean(values)) if len(values) else None

    return {
        "fid_cd": (fid_cd(features, reference).value, "m^2"),
        "div_cd": (div_cd(features), "m"),
        "bed": (mean(echoes), ""),
        "contact": (mean([contact_share(both) for both in couples]), ""),
        "penetration": (mean([penetration_share(both) for both in couples]), ""),
        "heading correlation": (mean([heading_correlation(both) for both in couples]), ""),
        "distance": (float(np.median(apart)), "m"),
        "distance shift": (distance_shift(apart, real), "m"),
        "skating": (mean([foot_skating_ratio(both[1]) for both in couples]), ""),
        "speed": (mean([float(joint_speed(both[1]).mean()) for both in couples]), "m/s"),
    }


if __name__ == "__main__":
    sys.exit(main())
