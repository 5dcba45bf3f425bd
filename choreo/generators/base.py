"""What a generator is: it turns an encoded request into a trajectory of graph evaluations, and those into motion.

A generator is one folder, found by name in `choreo.generators.registry`. Its class here has no tensors of torch; what
training and export need of torch is imported where it is used, so that a server which evaluates graphs elsewhere
loads none of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.generators.constraints import FREE, Constraints, root_of
from choreo.generators.spec import GeneratorSpec, GraphSpec
from choreo.generators.text_segments import TextSegment
from choreo.motion.clip import Motion

if TYPE_CHECKING:
    from choreo.generators.config import GeneratorConfig
    from choreo.generators.network import GeneratorNetwork
    from choreo.training.loop import Task
    from choreo.training.recipe import GeneratorRecipe
    from choreo.training.windowed import TrainingData

Array = NDArray[np.float32]
Tensors = dict[str, Array]
"""Arrays by tensor name, (rows, *shape), float32."""
Row = dict[str, Array]
"""One row of each output of a graph, by tensor name."""


class NotForThisModel(InvalidInput):
    """A field of a request that this generator cannot do; another one may."""


@dataclass(frozen=True)
class Conditioning:
    """Song and prompt as networks see them.

    Attributes:
        num_frames: length of the motion to make.
        music: (T_song, F) float32 features at the generator's frame rate, or None without a song.
        text: (E,) float32, or None without a prompt.
        beats: seconds from the song's start.
        onset: (T_song,) onset strength in [0, 1]; empty without a song.
        downbeats: the beats that begin a bar, seconds from the song's start; empty where bars are not known.
        segments: prompts over time, in place of `text` where they hold; they do not overlap.
    """

    num_frames: int
    music: Array | None = None
    text: Array | None = None
    beats: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    onset: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    downbeats: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    segments: tuple[TextSegment, ...] = ()


@dataclass(frozen=True)
class GenerationRequest:
    """How a motion is to be made.

    Attributes:
        sampler: name in `choreo.diffusion.samplers`.
        guidance_scale: of classifier-free guidance; 1 needs no unconditional rows.
        text_guidance, music_guidance: separate scales (`choreo.diffusion.guidance`), which need a third row; where only
            one is given, the other is guidance_scale. None for both: guidance_scale for all conditions together.
        guidance_interval: lowest and highest noise, t / T, at which guidance acts (Kynkaanniemi et al. 2024).
        seed: 0 <= seed < 2^63; the motion is a function of it.
        start: motion that the result begins with.
        constraints: what else the result must keep to.
        leader: the dancer of a duet who is given.
        leader_follows: whether that dancer follows, so that the one who leads is made.
        prior: (T, C) features of a retrieved motion, not normalised, with `prior_mask` (T,); None without one.
        deadline: instant of `time.monotonic` after which the result is of no use.
        weight: share of the step batches, relative to other requests.
    """

    num_steps: int = 50
    sampler: str = "ddim"
    guidance_scale: float = 2.5
    text_guidance: float | None = None
    music_guidance: float | None = None
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    seed: int = 0
    start: Motion | None = None
    constraints: Constraints = FREE
    leader: Motion | None = None
    leader_follows: bool = False
    prior: Array | None = None
    prior_mask: Array | None = None
    deadline: float = float("inf")
    weight: float = 1.0


class RowCache(Protocol):
    """Rows that were evaluated before, by a hash of their inputs."""

    def get(self, key: bytes) -> Row | None:
        """The row, or None."""
        ...

    def put(self, key: bytes, value: Row) -> None:
        """Keep a row, which is not written to any more."""
        ...


@dataclass(frozen=True)
class KeyPoses:
    """Poses that a motion was planned with.

    Attributes:
        frames: int64 (K,) of the motion, ascending.
        positions: float64 (K, 22, 3) metres, y up, in the frame of reference of the motion.
    """

    frames: NDArray[np.int64]
    positions: NDArray[np.float64]

    def moved(self, place: NDArray[np.floating]) -> "KeyPoses":
        """All moved over the floor so that the root of the first is at a place (2,), x and z."""
        positions = self.positions.copy()
        positions[..., [0, 2]] += place - root_of(positions[0])
        return replace(self, positions=positions)


@runtime_checkable
class PlansKeyPoses(Protocol):
    """A trajectory that plans key poses, and dances between them."""

    @property
    def key_poses(self) -> KeyPoses:
        """What the dance was planned with, when done."""
        ...


class Trajectory(Protocol):
    """One request on its way through the graphs, step by step.

    A step evaluates `rows` rows of one graph, in any order and in any calls. Once `complete`, `advance` makes the step
    and begins the next one, maybe of another graph: one of a conditioner, many of a reverse process, one of a decoder.
    An autoregressive generator has steps of one row, and `advance` appends a token.
    """

    @property
    def deadline(self) -> float:
        """Instant of `time.monotonic` after which the result is of no use."""
        ...

    @property
    def weight(self) -> float:
        """Share of the step batches, relative to other requests."""
        ...

    @property
    def graph(self) -> str:
        """Name of the graph that this step evaluates."""
        ...

    @property
    def rows(self) -> int:
        """Rows of this step; 0 when done."""
        ...

    @property
    def complete(self) -> bool:
        """Whether every row of this step has been added."""
        ...

    @property
    def done(self) -> bool:
        """Whether the last step was made."""
        ...

    @property
    def progress(self) -> str:
        """Where it is, for messages: "step 3 of 50"."""
        ...

    @property
    def evaluated(self) -> Mapping[str, int]:
        """Rows that were evaluated so far, by graph."""
        ...

    def fill_constant(self, row: int, inputs: Tensors, at: int) -> None:
        """Write what does not change between the steps of a graph into position `at` of its inputs."""
        ...

    def fill_step(self, row: int, inputs: Tensors, at: int) -> None:
        """Write what changes from step to step."""
        ...

    def add(self, row: int, outputs: Mapping[str, Array]) -> None:
        """Take in the outputs of one row of this step, each without the axis of the rows."""
        ...

    def advance(self) -> None:
        """Make the step, which is complete, and begin the next one."""
        ...

    def repeat(self) -> None:
        """Forget what was added to this step: it is evaluated again."""
        ...

    def result(self) -> Array:
        """Features (num_frames, C), not normalised, when done."""
        ...


@dataclass(frozen=True)
class Stage:
    """One part of a training run.

    Attributes:
        folder: name of its folder in that of the run; empty for the last stage, which is trained in the run's own.
        steps: optimiser steps of it.
        task: what it does, given the folder of the run with what the stages before it have made.
    """

    folder: str
    steps: int
    task: "Callable[[Path], Task]"


class Generator(ABC):
    """One generator, as its spec describes it.

    Subclasses are families: they say how a request is evaluated (`begin`), and with torch how a network of the family
    is built and trained.

    Raises:
        InvalidArtifact: the spec does not have what the family needs; the message names the generator.
    """

    family: ClassVar[str]
    """Name in the registry."""
    lowerings: ClassVar[Mapping[str, str]] = {}
    """Graphs that can be compiled, and the names of their lowerings (`export.native.lowering`)."""
    learns_couples: ClassVar[bool] = False
    """Whether it follows a leader, and is trained on couples (`choreo.data.couples.CoupleSplits`)."""

    def __init__(self, spec: GeneratorSpec) -> None:
        self.spec = spec

    @abstractmethod
    def begin(
        self, request: GenerationRequest, conditioning: Conditioning, cache: RowCache | None = None
    ) -> Trajectory:
        """A trajectory for one request; `cache` has rows of graphs that do not depend on the step."""

    @classmethod
    @abstractmethod
    def recipe_type(cls) -> "type[GeneratorRecipe]":
        """Type of the recipes that the family is trained by."""

    @classmethod
    @abstractmethod
    def task(cls, recipe: Any, data: "TrainingData") -> "Task":
        """What a training run does, for a recipe of the family's type."""

    @classmethod
    def stages(cls, recipe: Any, data: Any) -> Sequence[Stage]:
        """The parts of a training run, in order: for most families there is one, `task`."""
        return [Stage("", recipe.train.max_steps, lambda folder: cls.task(recipe, data))]

    @classmethod
    @abstractmethod
    def config_type(cls) -> "type[GeneratorConfig]":
        """Type of what `config.json` of a checkpoint holds."""

    @classmethod
    @abstractmethod
    def network(cls, config: Any) -> "GeneratorNetwork":
        """A network with new weights."""

    @classmethod
    def untrained(cls, trained: Any) -> "GeneratorNetwork":
        """The network that the training of `trained` started from, up to its random weights."""
        return cls.network(trained.config)


def zeros(graph: GraphSpec, rows: int) -> Tensors:
    """Zeros for every input of a graph."""
    return {name: np.zeros((rows, *shape), np.float32) for name, shape in graph.input_shapes.items()}


Evaluate = Callable[[str, Tensors], Tensors]
"""Outputs of a graph, by its name, for rows of inputs."""


def run(trajectories: Sequence[Trajectory], evaluate: Evaluate, inputs_of: Callable[[str, int], Tensors]) -> None:
    """Take trajectories to their end in one thread; rows of those that are at the same graph share a call.

    Args:
        evaluate: evaluates a graph.
        inputs_of: zeros for the inputs of a graph, given its name and a number of rows.
    """
    while active := [trajectory for trajectory in trajectories if not trajectory.done]:
        graph = active[0].graph
        rows = [
            (trajectory, row) for trajectory in active if trajectory.graph == graph for row in range(trajectory.rows)
        ]
        inputs = inputs_of(graph, len(rows))
        for at, (trajectory, row) in enumerate(rows):
            trajectory.fill_constant(row, inputs, at)
            trajectory.fill_step(row, inputs, at)
        outputs = evaluate(graph, inputs)
        for at, (trajectory, row) in enumerate(rows):
            trajectory.add(row, {name: values[at] for name, values in outputs.items()})
        for trajectory in dict.fromkeys(trajectory for trajectory, _ in rows):
            trajectory.advance()
