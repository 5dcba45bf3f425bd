"""What the camera of a film does. It is apart from the drawing, so that naming it loads no drawing library."""

from enum import StrEnum

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
