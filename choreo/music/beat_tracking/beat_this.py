"""Beat This! (Foscarin, Schlüter and Widmer 2024) from an ONNX file of the user's; no package has its weights."""

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, MissingDependency, NonFiniteOutput
from choreo.music.beat_tracking.beat_this_spectrum import BANDS

Array = NDArray[np.float32]

VARIABLE: Final = "CHOREO_BEAT_THIS"
OUTPUTS: Final = ("beat", "downbeat")
THREADS: Final = 2
"""Of one network; songs are heard several at a time."""
CHUNK: Final = 1500
"""Frames that the network hears at a time, 30 s: it was trained with so many."""
BORDER: Final = 6
"""Frames at either end of a chunk that are not used."""

_FLOAT: Final = "tensor(float)"
_KEPT: Final = CHUNK - 2 * BORDER


class BeatThis:
    """The network.

    Args:
        path: an ONNX file with one input, float32 (batch, frames, 128), and two outputs `beat` and `downbeat`, float32
            (batch, frames); the number of frames must be free.

    Raises:
        MissingDependency: there is no such file, or no ONNX Runtime.
        InvalidArtifact: the file is no such network.
    """

    def __init__(self, path: Path) -> None:
        self._session = _open(path)
        self._input = _checked_input(self._session, path)

    @classmethod
    def given(cls) -> "BeatThis":
        """The network that the environment variable `CHOREO_BEAT_THIS` names.

        Raises:
            MissingDependency: it names none, or what is not there, or there is no ONNX Runtime.
            InvalidArtifact: the file is no such network.
        """
        if not (path := os.environ.get(VARIABLE)):
            raise MissingDependency(
                f"the weights of the beat tracker beat_this do not come with this program: set {VARIABLE} to the path "
                "of its ONNX file (docs/beats.md says how to make one), or choose the tracker beatnet"
            )
        return cls(Path(path))

    def logits(self, spectrum: Array) -> Array:
        """Logits of beat and downbeat, float32 (T, 2), of `log_mel` (T, 128); T at least 1.

        Long songs are heard in chunks that overlap by their borders; where the last one overlaps more, the chunk before
        it counts.

        Raises:
            InvalidArtifact: the network cannot be evaluated, or answers in another shape.
            NonFiniteOutput: it answers NaN or infinity.
        """
        frames = len(spectrum)
        padded = np.pad(spectrum, ((BORDER, BORDER), (0, 0)))
        starts = list(range(0, frames, _KEPT))
        if len(starts) > 1:
            starts[-1] = frames - _KEPT
        out = np.empty((frames, len(OUTPUTS)), np.float32)
        for start in reversed(starts):
            out[start : start + _KEPT] = self._evaluate(padded[start : start + CHUNK])[BORDER:-BORDER]
        if not np.isfinite(out).all():
            raise NonFiniteOutput(f"the network of {VARIABLE} answers NaN or infinity; export it anew")
        return out

    def _evaluate(self, chunk: Array) -> Array:
        try:
            answers = self._session.run(list(OUTPUTS), {self._input: chunk[None]})
        except Exception as error:  # ONNX Runtime has a class for every status, with no base below Exception
            raise InvalidArtifact(f"the network of {VARIABLE} cannot be evaluated: {_first_line(error)}") from error
        for name, answer in zip(OUTPUTS, answers, strict=True):
            if answer.shape != (1, len(chunk)):
                raise InvalidArtifact(
                    f"the network of {VARIABLE} answers {name} of shape {answer.shape} for {len(chunk)} frames; "
                    f"it must be (1, {len(chunk)})"
                )
        return np.stack([answer[0] for answer in answers], axis=1)


def _open(path: Path) -> Any:
    """The file as a session of ONNX Runtime."""
    if not path.is_file():
        raise MissingDependency(f"{VARIABLE} names {path}, which is no file; it must be an ONNX file of beat_this")
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependency("the beat tracker beat_this needs onnxruntime; install choreo[cpu]") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    # Idle threads that spin take the cores from whatever else runs on the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise InvalidArtifact(f"{VARIABLE} names {path}, which cannot be loaded: {_first_line(error)}") from error


def _checked_input(session: Any, path: Path) -> str:
    """Name of the input of a network that has the right ones."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != _FLOAT or not _fits(inputs[0].shape, (1, None, BANDS)):
        raise InvalidArtifact(
            f"{VARIABLE} names {path}, whose inputs are {_described(inputs)}; it must have one, tensor(float) of shape "
            f"(batch, frames, {BANDS}) with any number of frames"
        )
    outputs = {output.name: output for output in session.get_outputs()}
    for name in OUTPUTS:
        if name not in outputs or outputs[name].type != _FLOAT or not _fits(outputs[name].shape, (1, None)):
            raise InvalidArtifact(
                f"{VARIABLE} names {path}, whose outputs are {_described(outputs.values())}; it must have beat and "
                "downbeat, tensor(float) of shape (batch, frames)"
            )
    return str(inputs[0].name)


def _fits(shape: list[Any], wanted: tuple[int | None, ...]) -> bool:
    """Whether each dimension is free, or that which is wanted; None must be free."""
    return len(shape) == len(wanted) and all(
        not isinstance(size, int) or size == want for size, want in zip(shape, wanted, strict=True)
    )


def _described(values: Any) -> str:
    return ", ".join(f"{value.name} {value.type} {value.shape}" for value in values) or "none"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
