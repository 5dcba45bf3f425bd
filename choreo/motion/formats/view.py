"""How a film is taken: what its camera does, how large it is, and what is marked in it.

It is apart from the drawing, so that naming it loads no drawing library.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from choreo.errors import InvalidInput


class View(StrEnum):
    """What a film's camera does."""

    FOLLOW = "follow"
    FIXED = "fixed"

    @classmethod
    def named(cls, name: str, field: str = "camera") -> "View":
        """The view of a name.

        Raises:
            InvalidInput: there is none; the error's field is `field`.
        """
        try:
            return cls(name)
        except ValueError as error:
            raise InvalidInput(field, f"must be one of {', '.join(cls)}, got {name[:32]!r}") from error


SIZES: Final = {"square": (640, 640), "720p": (1280, 720), "1080p": (1920, 1080)}
"""Width and height in pixels by the names that users give them; the first is the usual one."""


@dataclass(frozen=True)
class Film:
    """How a film is taken.

    Attributes:
        view: what the camera does.
        size: width and height in pixels, both even.
        marks: whether feet that stand and beats are marked.
    """

    view: View = View.FOLLOW
    size: tuple[int, int] = SIZES["square"]
    marks: bool = False


def film_size(name: str, field: str = "size") -> tuple[int, int]:
    """Width and height of a name of `SIZES`, in any case.

    Raises:
        InvalidInput: there is none.
    """
    if (size := SIZES.get(name.strip().lower())) is None:
        raise InvalidInput(field, f"must be one of {', '.join(SIZES)}, got {name[:32]!r}")
    return size
