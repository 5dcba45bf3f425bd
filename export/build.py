"""Checkpoint to Triton repository in one call, skipped when the repository was already made from that checkpoint."""

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import choreo.models
from choreo.errors import InvalidInput, MissingDependency
from choreo.models.generator import CONFIG, WEIGHTS, load_generator
from choreo.models.spec import ModelSpec
from choreo.motion.formats.atomic import atomic_write
from export.onnx_graphs import Precision, export_graphs
from export.repository import GRAPHS, Profile, RepositorySettings, graph_file, read_spec, write_repository

RECORD = "build.json"


@dataclass(frozen=True)
class Built:
    """A repository ready to be served; `parity` is each graph's largest difference from torch by batch size."""

    path: Path
    spec: ModelSpec
    profile: str
    precision: str
    parity: dict[str, dict[str, float]]
    reused: bool

    def document(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        return asdict(self) | {"path": str(self.path), "spec": self.spec.name}


def build_repository(
    checkpoint: Path, root: Path, profile: str = "cpu", precision: str = "float32", *, force: bool = False
) -> Built:
    """Export `checkpoint`, compare with torch and write the repository `root`; does nothing if it is current.

    Raises:
        InvalidInput: unknown profile or precision.
        MissingDependency: no checkpoint there, or the profile needs what this machine lacks.
        InvalidArtifact: the checkpoint is broken or its graphs differ from torch.
    """
    chosen, exact = _choice("profile", profile, Profile), _choice("precision", precision, Precision)
    if chosen is Profile.GPU_PLAN:
        raise MissingDependency("TensorRT plans are built on the GPU that serves them; use --profile gpu-ort meanwhile")
    fingerprint = _fingerprint(checkpoint, chosen, exact)
    current = None if force else _current(root, fingerprint, chosen)
    if current is not None:
        return current
    generator = load_generator(checkpoint)
    with tempfile.TemporaryDirectory(prefix="choreo-export-") as scratch:
        graphs = export_graphs(generator, Path(scratch), exact)
        paths = {name: graph.path for name, graph in zip(GRAPHS, graphs, strict=True)}
        (root / RECORD).unlink(missing_ok=True)
        write_repository(root, generator.spec, paths, chosen, RepositorySettings())
    parity = {g.name: {str(batch): error for batch, error in g.parity.items()} for g in graphs}
    record = {"fingerprint": fingerprint, "profile": chosen.value, "precision": exact.value, "parity": parity}
    atomic_write(root / RECORD, (json.dumps(record, indent=1) + "\n").encode())
    return Built(root, generator.spec, chosen.value, exact.value, parity, reused=False)


def _choice(field: str, value: str, kind: type[Profile] | type[Precision]) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        raise InvalidInput(field, f"must be one of {', '.join(kind)}, got {value!r}") from error


def _fingerprint(checkpoint: Path, profile: Profile, precision: Precision) -> str:
    """Hash of everything that decides the repository: weights, configuration, networks, exporter, choices."""
    digest = hashlib.sha256(f"{profile}|{precision}".encode())
    sources = [*Path(choreo.models.__file__).parent.glob("*.py"), *Path(__file__).parent.glob("*.py")]
    try:
        for path in (checkpoint / CONFIG, checkpoint / WEIGHTS, *sorted(sources)):
            digest.update(path.read_bytes())
    except OSError as error:
        raise MissingDependency(f"no checkpoint at {checkpoint}; train one or set CHOREO_WEIGHTS ({error})") from error
    return digest.hexdigest()


def _current(root: Path, fingerprint: str, profile: Profile) -> Built | None:
    try:
        record = json.loads((root / RECORD).read_text())
        if record["fingerprint"] != fingerprint or record["profile"] != profile.value:
            return None
        if not all((root / graph / "1" / graph_file(profile)).is_file() for graph in GRAPHS):
            return None
        return Built(root, read_spec(root), profile.value, record["precision"], record["parity"], reused=True)
    except (OSError, ValueError, KeyError):
        return None
