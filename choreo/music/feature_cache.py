"""Music features on disk, by the content of the song: training asks for the same songs again and again."""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Final

import numpy as np

from choreo.errors import InvalidInput
from choreo.files import replacing
from choreo.music.audio import Audio
from choreo.music.beat_tracking.heard import DEFAULT_TRACKER
from choreo.music.encoded import MusicFeatures, load_features, precomputed
from choreo.music.encoders import MusicEncoder, music_encoder
from choreo.music.jukebox import JukeboxEncoder

log = logging.getLogger(__name__)

FOLDER_VARIABLE: Final = "CHOREO_MUSIC_CACHE"


class CachedEncoder:
    """An encoder whose features are kept in a folder; beats and onsets are computed from the song every time.

    Args:
        encoder: what computes features that are not there yet; of features without beats and onsets of their own.
        folder: for the files, which nothing removes; made when it is needed.
        version: changes with the features that the encoder gives for the same song.
    """

    def __init__(self, encoder: MusicEncoder, folder: Path, version: str = "") -> None:
        self.name, self.dim, self.sample_rate = encoder.name, encoder.dim, encoder.sample_rate
        self.tracker = encoder.tracker
        self._encoder, self._folder, self._version = encoder, folder, version

    def encode(self, audio: Audio) -> MusicFeatures:
        """Features of the whole song, read from the folder where they were computed before.

        Raises:
            MissingDependency: the features are not there, and the encoder is not on this machine.
        """
        path = self._folder / f"{self._key(audio)}.npy"
        if path.is_file():
            try:
                return precomputed(load_features(path), "features", self.dim, audio, self.tracker)
            except InvalidInput as error:
                log.warning("music features in the cache are broken and are computed again: %s: %s", path, error)
        encoded = self._encoder.encode(audio)
        self._keep(path, encoded)
        return encoded

    def close(self) -> None:
        """End the encoder's process, if it has one."""
        self._encoder.close()

    def _key(self, audio: Audio) -> str:
        about = [self.name, self.dim, self._version, audio.sample_rate, audio.seconds]
        digest = hashlib.sha256(json.dumps(about).encode())
        digest.update(audio.samples.tobytes())
        return digest.hexdigest()

    def _keep(self, path: Path, encoded: MusicFeatures) -> None:
        """Write the features; a folder that cannot be written costs time at the next run and nothing else."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, encoded.features)
        except OSError as error:
            log.warning("music features are not cached: %s", error)


def training_encoder(name: str, tracker: str = DEFAULT_TRACKER) -> MusicEncoder:
    """The named music encoder as training uses it: what takes a network to compute is cached on disk.

    The folder is `CHOREO_MUSIC_CACHE`, by default `choreo/music` in the user's cache folder.

    Raises:
        InvalidInput: no encoder has this name.
    """
    encoder = music_encoder(name, tracker)
    if not isinstance(encoder, JukeboxEncoder):
        return encoder
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "choreo" / "music"
    return CachedEncoder(encoder, Path(os.environ.get(FOLDER_VARIABLE) or default), encoder.version())
