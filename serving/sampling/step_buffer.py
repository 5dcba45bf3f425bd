"""Inputs of one wave, and who sits where: what a row keeps from step to step is written once, when it is seated."""

from collections.abc import Sequence, Set

import numpy as np

from choreo.diffusion.trajectory import Trajectory
from choreo.generators.spec import ModelSpec
from serving.engines.tensors import Tensors

Seat = tuple[Trajectory, int]
"""A trajectory and the number of one of its rows."""


def denoiser_inputs(spec: ModelSpec, rows: int) -> Tensors:
    """Zeros for every input of the denoiser."""
    return {name: np.zeros((rows, *shape), np.float32) for name, shape in spec.denoiser_inputs().items()}


class StepBuffer:
    """Arrays for up to `rows` rows.

    Args:
        inputs: (rows, *shape) of every input of the denoiser, e.g. from `denoiser_inputs`; they are written in place.
    """

    def __init__(self, inputs: Tensors) -> None:
        self.inputs = inputs
        self._seats: list[Seat | None] = [None] * len(inputs["x"])
        self.written = 0
        """Rows whose constant part was written so far."""

    def seated(self, wanted: Set[Seat]) -> int:
        """How many of some rows sit here."""
        return sum(seat in wanted for seat in self._seats)

    def load(self, wanted: Sequence[Seat]) -> list[Seat]:
        """Write the rows of a wave into the first positions; returns who sits where.

        A row that sits in one of those positions already stays there, and only its x and t are written.
        """
        count = len(wanted)
        standing = {id(t): t for t, _ in wanted}
        waiting = dict.fromkeys((id(t), row) for t, row in wanted)
        seated: list[Seat | None] = [None] * count
        for at, seat in enumerate(self._seats[:count]):
            if seat is not None and (id(seat[0]), seat[1]) in waiting:
                del waiting[id(seat[0]), seat[1]]
                seated[at] = seat
        rest = iter(waiting)
        full: list[Seat] = []
        for at, seat in enumerate(seated):
            if seat is None:
                key, row = next(rest)
                seat = standing[key], row
                seat[0].fill_constant(row, self.inputs, at)
                self.written += 1
            full.append(seat)
            seat[0].fill_step(seat[1], self.inputs, at)
        self._seats[:count] = full
        return full

    def forget(self, trajectory: Trajectory) -> None:
        """Empty the seats of one that has left, so that its memory goes with it."""
        self._seats = [None if seat is not None and seat[0] is trajectory else seat for seat in self._seats]
