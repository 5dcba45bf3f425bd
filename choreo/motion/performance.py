"""A performance: one or more dancers on one clock. A solo is a performance of one dancer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion

MAX_DANCERS: Final = 8
"""Every dancer costs as much memory, drawing time and file size as a solo, so a number from outside is bounded; and
previews tell dancers apart by colour, which stops working at about eight."""
MAX_NAME_CHARS: Final = 32
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_NAME_CHARS - 1}}}")


@dataclass(frozen=True)
class Performance:
    """The motions of one or more dancers, which start together, have the same length and share one floor.

    Attributes:
        dancers: one `Motion` per dancer. Their own `meta` is not written to files.
        meta: JSON-serialisable provenance of the whole.
        names: one per dancer, distinct; `dancer-1`, `dancer-2`, ... by default.

    Raises:
        InvalidInput: no dancers or more than MAX_DANCERS, unequal lengths or frame rates, or unusable names.
    """

    dancers: tuple[Motion, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.dancers) <= MAX_DANCERS:
            raise InvalidInput("dancers", f"must be 1 to {MAX_DANCERS} motions, got {len(self.dancers)}")
        first = self.dancers[0]
        for i, dancer in enumerate(self.dancers):
            if (dancer.num_frames, dancer.fps) != (first.num_frames, first.fps):
                raise InvalidInput(
                    f"dancers[{i}]",
                    f"must have {first.num_frames} frames at {first.fps:g} fps as dancers[0] has, "
                    f"got {dancer.num_frames} at {dancer.fps:g}",
                )
        names = self.names or tuple(f"dancer-{i + 1}" for i in range(len(self.dancers)))
        check_names(names, len(self.dancers), "names")
        object.__setattr__(self, "names", names)

    @classmethod
    def solo(cls, motion: Motion) -> "Performance":
        """The performance of one dancer; it has the motion's `meta`."""
        return cls((motion,), motion.meta)

    @classmethod
    def of(cls, dance: "Motion | Performance") -> "Performance":
        """The same performance, or a motion as a solo."""
        return dance if isinstance(dance, Performance) else cls.solo(dance)

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.dancers[0].fps

    @property
    def num_frames(self) -> int:
        """Length T in frames."""
        return self.dancers[0].num_frames

    @property
    def seconds(self) -> float:
        """Duration, T / fps."""
        return self.dancers[0].seconds

    @property
    def positions(self) -> NDArray[np.float32]:
        """Joint positions (N, T, 22, 3) of N dancers, metres."""
        return np.stack([dancer.positions for dancer in self.dancers])

    @property
    def rotations(self) -> NDArray[np.float32] | None:
        """Local rotations (N, T, 22, 3, 3); None unless every dancer has them."""
        rotations = [dancer.rotations for dancer in self.dancers if dancer.rotations is not None]
        return np.stack(rotations) if len(rotations) == len(self.dancers) else None

    def single(self, field_name: str = "motion") -> Motion:
        """The only dancer, with the performance's `meta`.

        Raises:
            InvalidInput: there are several dancers; the error's field is `field_name`.
        """
        if len(self.dancers) > 1:
            names = ", ".join(self.names)
            raise InvalidInput(field_name, f"must be one dancer, got {len(self.dancers)}: {names}"[:200])
        return replace(self.dancers[0], meta=self.meta)


def check_names(names: Sequence[str], count: int, field_name: str) -> None:
    """Check that dancers' names are distinct and usable in every file format.

    Names become parts of BVH joint names, which Blender truncates at 63 bytes.

    Raises:
        InvalidInput: not one name per dancer, two equal ones, or one that is not 1 to 32 ASCII letters, digits,
            `-` and `_`, beginning with a letter or digit.
    """
    if len(names) != count or len(set(names)) != count:
        raise InvalidInput(field_name, f"must be {count} different names, got {list(names)[: MAX_DANCERS + 1]}"[:200])
    for name in names:
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                field_name, f"must be 1 to {MAX_NAME_CHARS} letters, digits, - and _, got {name[:MAX_NAME_CHARS]!r}"
            )
