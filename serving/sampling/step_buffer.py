"""Inputs of step batches: what a row keeps from step to step is written once, when it is loaded into a position."""

from collections.abc import Sequence, Set

from choreo.generators.base import Tensors, Trajectory

Entry = tuple[Trajectory, int]
"""A trajectory and the number of one of its rows."""


class StepBuffer:
    """Arrays for the rows of one graph.

    Args:
        inputs: (rows, *shape) of every input of the graph; they are written in place.
    """

    def __init__(self, inputs: Tensors) -> None:
        self.inputs = inputs
        self._entries: list[Entry | None] = [None] * len(next(iter(inputs.values())))
        self.written = 0
        """Rows whose constant part was written so far."""

    def loaded(self, wanted: Set[Entry]) -> int:
        """How many of some rows are in here already."""
        return sum(entry in wanted for entry in self._entries)

    def load(self, wanted: Sequence[Entry]) -> list[Entry]:
        """Write the rows of a batch into the first positions; returns which row is where.

        A row that is in one of those positions already stays there, and only what changes from step to step is written.
        """
        count = len(wanted)
        trajectories = {id(t): t for t, _ in wanted}
        waiting = dict.fromkeys((id(t), row) for t, row in wanted)
        placed: list[Entry | None] = [None] * count
        for at, entry in enumerate(self._entries[:count]):
            if entry is not None and (id(entry[0]), entry[1]) in waiting:
                del waiting[id(entry[0]), entry[1]]
                placed[at] = entry
        rest = iter(waiting)
        full: list[Entry] = []
        for at, entry in enumerate(placed):
            if entry is None:
                key, row = next(rest)
                entry = trajectories[key], row
                entry[0].fill_constant(row, self.inputs, at)
                self.written += 1
            full.append(entry)
            entry[0].fill_step(entry[1], self.inputs, at)
        self._entries[:count] = full
        return full

    def forget(self, trajectory: Trajectory) -> None:
        """Free the positions of a trajectory that has ended, so that its memory can be reused."""
        self._entries = [None if entry is not None and entry[0] is trajectory else entry for entry in self._entries]
