"""The manifest of a library: what the folder contains, and how to verify that it is complete."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from choreo.errors import InvalidArtifact
from choreo.files import file_sha256
from choreo.motion.skeleton import FPS
from retrieval.indices.base import IndexInfo
from retrieval.library.embedding import EmbeddingConfig

FORMAT: Final = "choreo-phrases"
VERSION: Final = 2
NAME: Final = "manifest.json"
TABLE, MOTION, INDEX = "phrases.parquet", "motion.npy", "index.faiss"
FILES: Final = (TABLE, MOTION, INDEX)
HASH_LIMIT: Final = 256 << 20
"""Of larger files, in bytes, only the size is checked when a library is opened."""


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and SHA-256 (hex) of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Content of `manifest.json`.

    Attributes:
        phrases, frames: counts.
        index: kind and parameters of the index, and its measured recall.
        embedding: how phrases and queries are embedded.
        licences: number of phrases by licence tag.
        files: by name.
    """

    phrases: int
    frames: int
    index: IndexInfo
    embedding: EmbeddingConfig
    licences: dict[str, int]
    files: dict[str, FileEntry]

    @property
    def content(self) -> str:
        """Hash of the whole library, equal for equal libraries; for caches and reports."""
        return hashlib.sha256(json.dumps(self._body(), sort_keys=True).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into the folder."""
        body = {"format": FORMAT, "version": VERSION, **self._body()}
        (folder / NAME).write_text(json.dumps(body, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a library.

        Raises:
            InvalidArtifact: there is none, or it is broken or of another version.
        """
        try:
            values = json.loads((folder / NAME).read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidArtifact(f"{folder} is not a phrase library: {NAME} cannot be read") from error
        except ValueError as error:
            raise InvalidArtifact(f"{NAME} of the phrase library {folder} is broken") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise InvalidArtifact(f"{folder} is not a phrase library: {NAME} is of another format")
        if (version := values.get("version")) != VERSION:
            raise InvalidArtifact(f"the phrase library {folder} is of version {version}, this program reads {VERSION}")
        try:
            return cls._from_json(values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidArtifact(f"{NAME} of the phrase library {folder} misses or garbles {error}") from error

    def check_files(self, folder: Path, hash_limit: int = HASH_LIMIT) -> None:
        """Compare every file with its entry: the size always, the hash of files up to `hash_limit` bytes.

        Raises:
            InvalidArtifact: a file is missing, truncated or changed.
        """
        for name in FILES:
            entry = self.files[name]
            try:
                size = (folder / name).stat().st_size
            except OSError as error:
                raise InvalidArtifact(f"the phrase library {folder} misses {name}") from error
            if size != entry.size:
                raise InvalidArtifact(f"{name} has {size} bytes instead of {entry.size}; it is cut off or changed")
            if size <= hash_limit and file_sha256(folder / name) != entry.sha256:
                raise InvalidArtifact(f"{name} is not the file that the library was built with: its sha256 differs")

    def _body(self) -> dict[str, Any]:
        return {
            "fps": FPS,
            "skeleton": "smpl-22",
            "phrases": self.phrases,
            "frames": self.frames,
            "index": self.index.to_json(),
            "embedding": self.embedding.to_json(),
            "licences": self.licences,
            "files": {name: asdict(entry) for name, entry in self.files.items()},
        }

    @classmethod
    def _from_json(cls, values: dict[str, Any]) -> "Manifest":
        if values["fps"] != FPS or values["skeleton"] != "smpl-22":
            raise ValueError("fps or skeleton: only 30 fps and smpl-22 are supported")
        files = {name: FileEntry(int(e["size"]), str(e["sha256"])) for name, e in values["files"].items()}
        if missing := set(FILES) - set(files):
            raise ValueError(f"files: {', '.join(sorted(missing))}")
        return cls(
            phrases=int(values["phrases"]),
            frames=int(values["frames"]),
            index=IndexInfo.from_json(values["index"]),
            embedding=EmbeddingConfig.from_json(values["embedding"]),
            licences={str(k): int(v) for k, v in values["licences"].items()},
            files=files,
        )


def entries(folder: Path) -> dict[str, FileEntry]:
    """Entries of a library's files as they are in the folder."""
    return {name: FileEntry((folder / name).stat().st_size, file_sha256(folder / name)) for name in FILES}
