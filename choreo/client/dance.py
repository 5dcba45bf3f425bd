"""A dance as a server made it."""

import re
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.client.problems import plain
from choreo.client.wire import Answer
from choreo.errors import InvalidInput, UnexpectedAnswer
from choreo.files import atomic_write
from choreo.motion.clip import Motion
from choreo.motion.performance import Performance

FORMAT: Final = "npz"
"""Of requests that name none."""
READABLE: Final = ("npz", "json")
"""Formats that a dance's motion is read from; .npz is exact."""
_TIMING: Final = re.compile(r"([\w-]{1,32});dur=([0-9]{1,12}(?:\.[0-9]{1,9})?)")


@dataclass(frozen=True)
class Dance:
    """A dance in the format that was asked for.

    Attributes:
        content: bytes of the file.
        format: its name.
        seed: that makes the same dance again.
        server_seconds: seconds that stages of the server took, by name.
        notes: what the server, or the reader of the start, had to say about the song and the start.
        request_id: by which the server's log is searched.
        performance: its dancers, if the format is one of `READABLE`.
    """

    content: bytes = field(repr=False)
    format: str
    seed: int
    server_seconds: dict[str, float]
    notes: tuple[str, ...]
    request_id: str
    performance: Performance | None = field(repr=False)

    @property
    def motion(self) -> Motion:
        """The motion of the only dancer.

        Raises:
            InvalidInput: the format holds no motion to read, or there are several dancers.
        """
        return self._read().single("dance")

    @property
    def positions(self) -> NDArray[np.float32]:
        """Joint positions (T, 22, 3) in metres, y up; (N, T, 22, 3) of N > 1 dancers.

        Raises:
            InvalidInput: the format holds no motion to read.
        """
        dancers = self._read().dancers
        return dancers[0].positions if len(dancers) == 1 else self._read().positions

    @property
    def meta(self) -> dict[str, Any]:
        """Where the dance came from: prompt, model, sampler, phrases and so on; empty where the format has no room."""
        return {} if self.performance is None else self.performance.meta

    @property
    def suffix(self) -> str:
        """Of a file of this format, with its dot."""
        if self.format in READABLE:
            return f".{self.format}"
        from choreo.motion.formats.formats import FORMATS  # takes a second

        return next((fmt.suffix for fmt in FORMATS if fmt.name == self.format), f".{self.format}")

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the dance, whole or not at all, and return where.

        A path that ends with the suffix of another format than the dance's gets the dance in that format, where that
        can be made here: from npz and json, in every format but films, which need the song.

        Args:
            path: of a file, or an existing folder, in which it becomes `motion-SEED` with its suffix.

        Raises:
            InvalidInput: it cannot be written in the format that the suffix names.
            OSError: the folder is missing, full or not writable.
        """
        target = Path(path)
        if target.is_dir():
            target = target / f"motion-{self.seed}{self.suffix}"
        atomic_write(target, self.content if not target.suffix else self._in_format_of(target.name))
        return target

    def _read(self) -> Performance:
        if self.performance is None:
            readable = " or ".join(READABLE)
            raise InvalidInput("format", f"{self.format} holds no motion that is read here; ask for {readable}")
        return self.performance

    def _in_format_of(self, name: str) -> bytes:
        """The file's bytes in the format that a file name ends with."""
        from choreo.motion.formats.formats import encode, format_of_file  # takes a second

        try:
            wanted = format_of_file(name, "path")
        except InvalidInput:
            own = (f".{self.format}", ".vrm") if self.format == "glb" else (f".{self.format}",)
            if name.lower().endswith(own):  # a format that only the server knows; a VRM character is a GLB
                return self.content
            raise
        if wanted.name == self.format:
            return self.content
        if wanted.needs_audio:
            raise InvalidInput("path", f"ask the server for format={wanted.name!r}: it has the song")
        return encode(self._read(), wanted)


def read_dance(answer: Answer, name: str) -> Dance:
    """The dance in an answer, asked for in the format of that name.

    Raises:
        UnexpectedAnswer: it holds none.
    """
    headers = answer.headers
    performance = _performance(answer.body, name)
    meta = {} if performance is None else performance.meta
    try:
        number = int(headers["x-seed"] if "x-seed" in headers else meta["seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswer("the answer does not say its seed; is this the address of a choreo server?") from error
    timing = _TIMING.findall(headers.get("server-timing", "")[:4096])
    return Dance(
        answer.body,
        name,
        number,
        {stage: float(milliseconds) / 1000 for stage, milliseconds in timing},
        _notes(meta, headers.get("x-notes", "")),
        plain(headers.get("x-request-id")),
        performance,
    )


def rig_format(answer: Answer) -> str:
    """Name of the format of a character that came back."""
    return "glb" if answer.body[:4] == b"glTF" else "bvh"


def with_notes(dance: Dance, notes: tuple[str, ...]) -> Dance:
    """The dance with notes of its sender after those of the server."""
    return replace(dance, notes=(*dance.notes, *notes)) if notes else dance


def _performance(body: bytes, name: str) -> Performance | None:
    if name not in READABLE:
        return None
    from choreo.motion.formats import json_format, npz

    read = npz.read_performance if name == "npz" else json_format.read_performance
    try:
        return read(body, "answer")
    except InvalidInput as error:
        raise UnexpectedAnswer(f"the answer is no {name} of motion: {error}") from error


def _notes(meta: dict[str, Any], header: str) -> tuple[str, ...]:
    """All notes; those of the header are ASCII and joined."""
    notes = meta.get("notes")
    if isinstance(notes, list) and all(isinstance(note, str) for note in notes):
        return tuple(notes)
    return tuple(plain(note) for note in header.split("; ") if note)
