"""One request on its way: a row and a frame of the follower at every step."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.noise import INITIAL, gaussian
from choreo.errors import InvalidInput, NonFiniteOutput
from choreo.generators.base import Array, GenerationRequest, Tensors
from choreo.generators.duet.graphs import FOLLOWER
from choreo.generators.spec import GeneratorSpec
from choreo.motion.clip import Motion
from choreo.motion.pose_states import STATE, Ground, positions_of, rigid
from choreo.motion.representation import representation
from choreo.motion.resample import resample
from choreo.motion.skeleton import FPS
from choreo.postprocess.shared_floor import in_its_place

Array64 = NDArray[np.float64]

MIN_SECONDS: Final = 0.5
"""Shortest leader: less is too little to find the floor and the pace."""


class DuetTrajectory:
    """A `Trajectory` whose every step is one row: the follower's next frame, from the frames before and the leader's.

    A frame depends on the leader up to `look_ahead` frames after it and on nothing later, so that a follower can be
    made while the leader dances.
    """

    def __init__(self, spec: GeneratorSpec, look_ahead: int, noise: int, leader: Array64, request: GenerationRequest):
        """Begin before the first frame.

        Args:
            spec: of the generator.
            look_ahead: frames of the leader ahead of the one that is made.
            noise: random numbers of a frame.
            leader: positions (T, 22, 3) as `leader_positions` gives them.
            request: of which the seed, the role, the deadline and the weight are used.
        """
        self.deadline, self.weight = request.deadline, request.weight
        self._spec, self._ahead, self._leader = spec, look_ahead, leader
        self._role = 1.0 if request.leader_follows else 0.0
        self._states = np.zeros((0, STATE))
        self._noise = gaussian(request.seed, 0, len(leader) + spec.window, noise, INITIAL)
        self._ground = Ground(0, 0, 0)
        self._next: Array64 | None = None

    @property
    def graph(self) -> str:
        """The follower's."""
        return FOLLOWER

    @property
    def rows(self) -> int:
        """One until it is done."""
        return 0 if self.done else 1

    @property
    def complete(self) -> bool:
        """Whether the row of this step has been added."""
        return self._next is not None

    @property
    def done(self) -> bool:
        """Whether there is a frame of the follower for each of the leader."""
        return len(self._states) == len(self._leader)

    @property
    def progress(self) -> str:
        """Where it is, for messages."""
        return f"frame {len(self._states) + 1} of {len(self._leader)}"

    @property
    def evaluated(self) -> Mapping[str, int]:
        """Rows that were evaluated so far."""
        return {FOLLOWER: len(self._states)}

    def fill_constant(self, row: int, inputs: Tensors, at: int) -> None:
        """Write the role."""
        inputs["role"][at] = self._role

    def fill_step(self, row: int, inputs: Tensors, at: int) -> None:
        """Write the last frames of the follower and those of the leader, seen from where the leader was first."""
        made, window = len(self._states), self._spec.window
        frames = np.arange(made - window, made + 1 + self._ahead).clip(0, len(self._leader) - 1)
        self._ground = Ground.below(self._leader[frames[0]])
        inputs["leader"][at] = self._ground.seen(self._leader[frames]).reshape(len(frames), -1)
        known = min(made, window)
        inputs["states"][at], inputs["known"][at] = 0, 0
        if known:
            inputs["states"][at, window - known :] = self._ground.seen_states(self._states[made - known :])
            inputs["known"][at, window - known :] = 1
        inputs["noise"][at] = self._noise[made : made + window]

    def add(self, row: int, outputs: Mapping[str, Array]) -> None:
        """Take in the next frame."""
        self._next = np.asarray(outputs["next"], np.float64)

    def advance(self) -> None:
        """Make the frame one of the past."""
        assert self._next is not None
        if not np.isfinite(self._next).all():
            raise NonFiniteOutput(f"the model {self._spec.name} produced NaN or infinity at {self.progress}")
        state = self._ground.world_states(rigid(self._next))
        self._states = np.concatenate([self._states, state[None]])
        self._next = None

    def repeat(self) -> None:
        """Forget what was added to this step."""
        self._next = None

    def frames(self, first: int = 0) -> Array64:
        """Positions (n, 22, 3) of the follower's frames from `first` on, as far as they have been made."""
        return positions_of(self._states[first:])

    def result(self) -> Array:
        """Features (2, T, 66) of leader and follower in one frame, see `duet_spec`."""
        motion = representation(self._spec.representation)
        both = (self._leader, self.frames())
        return np.stack([motion.encode(p, self._spec.fps, previous=np.zeros(3))[0] for p in both]).astype(np.float32)


def leader_positions(leader: Motion) -> Array64:
    """A leader's positions (T, 22, 3) on the canonical skeleton and the floor, in place, at 30 fps.

    Raises:
        InvalidInput: it is shorter than `MIN_SECONDS`.
    """
    check_leader(leader)
    return in_its_place(resample(leader.positions, leader.fps, FPS, "leader"), FPS)


def check_leader(leader: Motion) -> None:
    """Refuse a leader of which no partner can be made.

    Raises:
        InvalidInput: it is shorter than `MIN_SECONDS`.
    """
    if leader.num_frames - 1 < MIN_SECONDS * leader.fps:
        raise InvalidInput("leader", f"must last {MIN_SECONDS:g} s or more, got {leader.num_frames} frame(s)")
