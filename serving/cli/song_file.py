"""A song that the command line names."""

from pathlib import Path

from choreo.errors import InvalidInput
from serving.settings import Settings


def song_bytes(song: Path, settings: Settings) -> bytes:
    """The file's bytes, not yet decoded.

    Raises:
        InvalidInput: there is no such file, or it is larger than an upload may be.
    """
    if not song.is_file():
        raise InvalidInput("song", f"{song} does not exist")
    if song.stat().st_size > settings.max_body_bytes:
        raise InvalidInput("song", f"{song} is larger than {settings.max_body_bytes} bytes")
    return song.read_bytes()
