"""Jukebox features (Dhariwal et al. 2020): activations inside the top prior, 4800-d at 30 fps.

Castellon et al. 2021 and EDGE (Tseng et al. 2023) read layer 66 of the 5b prior. Public Hugging Face weights exist
only for its fine-tuning with lyrics, whose extra cross-attention layers are not counted here; the features are of the
same kind and shape, not the same numbers. Features from elsewhere come in through `choreo.music.encoded.precomputed`.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.errors import BackendUnavailable, InvalidArtifact, MissingDependency
from choreo.music.audio import Audio
from choreo.music.beat_tracking.heard import DEFAULT_TRACKER
from choreo.music.encoded import JUKEBOX_DIM, MusicFeatures, precomputed
from choreo.music.jukebox_process import JukeboxProcess
from choreo.music.jukebox_worker import SAMPLE_RATE, SAMPLES_PER_FRAME, WrongWeightsError, load

REPOSITORY: Final = "openai/jukebox-5b-lyrics"
WEIGHTS_VARIABLE: Final = "CHOREO_JUKEBOX_WEIGHTS"
PYTHON_VARIABLE: Final = "CHOREO_JUKEBOX_PYTHON"
LAYER: Final = 66
HINT: Final = (
    f"Jukebox features need transformers==4.57.* (version 5 removed the model): set {PYTHON_VARIABLE} to the "
    f"interpreter of an environment that has it, and {WEIGHTS_VARIABLE} to the folder of the weights "
    f"(hf download {REPOSITORY}; about 13 GB of GPU memory); or pass precomputed features"
)


class WindowModel(Protocol):
    """The prior as a function of one window, in this process or another: see `jukebox_worker.WindowModel`."""

    @property
    def samples(self) -> int:
        """N, length of a window at 44.1 kHz."""

    def activations(self, samples: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Audio float32 (N,) to activations float32 (N // 1470, D)."""


class JukeboxEncoder:
    """4800-d features; beats are those of a tracker, onsets those of the 35-d features.

    Args:
        source: folder of the weights, or their name in the local Hugging Face cache; by default what the environment
            variable `CHOREO_JUKEBOX_WEIGHTS` names, else `openai/jukebox-5b-lyrics`. Nothing is downloaded.
        python: interpreter that runs the model, of an environment with transformers 4.57; by default what
            `CHOREO_JUKEBOX_PYTHON` names, else this process.
        device: torch device; by default the GPU if there is one.
        layer: which layer of the prior is read, counted from 1.
        tracker: name of the beat tracker.
    """

    name = "jukebox"
    dim = JUKEBOX_DIM
    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        source: str | Path | None = None,
        python: str | Path | None = None,
        device: str | None = None,
        layer: int = LAYER,
        tracker: str = DEFAULT_TRACKER,
    ) -> None:
        self._source = str(source or os.environ.get(WEIGHTS_VARIABLE) or REPOSITORY)
        self._python = python or os.environ.get(PYTHON_VARIABLE)
        self._device, self._layer = device, layer
        self.tracker = tracker
        self._lock = threading.Lock()
        self._model: WindowModel | None = None

    def encode(self, audio: Audio) -> MusicFeatures:
        """Features of the whole song, from half-overlapping windows.

        Raises:
            MissingDependency: no transformers with Jukebox in it, or no weights on this machine.
            InvalidArtifact: the weights are those of another model.
            BackendUnavailable: the other interpreter's process failed or took too long; the next call starts a new one.
        """
        # One song at a time: the activations of a window fill most of the GPU memory that the weights leave.
        with self._lock:
            self._model = self._model or self._load()
            try:
                features = encode_windows(self._model, audio)
            except BackendUnavailable:
                self._model = None
                raise
        return precomputed(features, "audio", self.dim, audio, self.tracker)

    def close(self) -> None:
        """End the other interpreter's process, if there is one; what it encodes fails, a later song starts one."""
        model, self._model = self._model, None
        if isinstance(model, JukeboxProcess):
            model.close()

    def version(self) -> str:
        """Changes with the layer and the weights, as far as names, sizes and times of the files in a folder tell."""
        folder = Path(self._source)
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        stats = [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
        return json.dumps([stats or self._source, self._layer])

    def _load(self) -> WindowModel:
        options: dict[str, Any] = {
            "source": self._source, "device": self._device, "layer": self._layer, "dim": self.dim,
        }  # fmt: skip
        try:
            return JukeboxProcess(self._python, options) if self._python else load(**options)
        except WrongWeightsError as error:
            raise InvalidArtifact(str(error)) from error
        except (MissingDependency, ImportError, OSError, ValueError) as error:
            raise MissingDependency(f"{HINT} ({error})") from error


def encode_windows(model: WindowModel, audio: Audio) -> NDArray[np.float32]:
    """Features float32 (audio.num_frames, D) from half-overlapping windows.

    Every frame but those of the first window has at least half a window of past, because activations early in a window
    know little of the music. The song is scaled to peak 1, as the reference extractor does.
    """
    num_frames = audio.num_frames
    samples = audio.at(SAMPLE_RATE).samples
    samples = samples / max(float(np.abs(samples).max(initial=0)), 1e-9)
    window = model.samples // SAMPLES_PER_FRAME
    pieces: list[NDArray[np.float32]] = []
    done, start = 0, 0
    while done < num_frames:
        chunk = samples[start * SAMPLES_PER_FRAME :][: model.samples]
        activations = model.activations(np.pad(chunk, (0, model.samples - len(chunk))))
        pieces.append(activations[done - start : window])
        done = start + window
        start = done - window // 2
    return np.concatenate(pieces)[:num_frames]
