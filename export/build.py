"""Checkpoint to Triton repository in one call, skipped when the repository was already made from that checkpoint.

A tuning outlives that: a repository that is built again keeps it as long as checkpoint, precision and machine are the
same. Where one of them is another, the defaults are written and a warning says so.

In the CPU profile the denoiser's folder has a compiled engine beside the graph (export/native), where one can be built.
"""

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import choreo.generators
from choreo.errors import ChoreoError, InvalidArtifact, InvalidInput, MissingDependency
from choreo.files import atomic_write
from choreo.generators.checkpoint import CONFIG, WEIGHTS, Generator, load_generator
from choreo.generators.spec import ModelSpec
from export.engine_options import EngineOptions
from export.native import loader
from export.native.package import build_native
from export.native.package import sources as native_sources
from export.native.program import CannotLower
from export.onnx_graphs import Precision, export_graphs, sample_inputs
from export.repository import (
    GRAPHS,
    Profile,
    RepositorySettings,
    graph_file,
    read_configs,
    read_spec,
    write_config,
    write_repository,
)
from export.tuning import Machine, Tuning

RECORD = "build.json"
NATIVE = "native"
"""The compiled engine among the graphs whose parity is recorded; it is not there where it could not be built."""

Measure = Callable[[Path, ModelSpec, int], Tuning]
"""The denoiser's graph, its contract and its largest batch -> what is fastest here (`export.tuning.tune`)."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Built:
    """A repository ready to be served; `parity` is each graph's largest difference from torch by batch size."""

    path: Path
    spec: ModelSpec
    profile: str
    precision: str
    parity: dict[str, dict[str, float]]
    reused: bool
    tuning: Tuning | None = None

    def document(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        tuning = None if self.tuning is None else self.tuning.model_dump()
        return asdict(self) | {"path": str(self.path), "spec": self.spec.name, "tuning": tuning}


def build_repository(
    checkpoint: Path,
    root: Path,
    profile: str = "cpu",
    precision: str = "float32",
    *,
    force: bool = False,
    tune: Measure | None = None,
) -> Built:
    """Export `checkpoint`, compare with torch and write the repository `root`; does nothing if it is current.

    Args:
        tune: measures the engine's options; omitted: a tuning that still holds is kept, else there are the defaults.

    Raises:
        InvalidInput: unknown profile or precision, or one that cannot be tuned.
        MissingDependency: no checkpoint there, or the profile needs what this machine lacks.
        InvalidArtifact: the checkpoint is broken or its graphs differ from torch.
    """
    chosen, exact = _choice("profile", profile, Profile), _choice("precision", precision, Precision)
    if chosen is Profile.GPU_PLAN:
        raise MissingDependency("TensorRT plans are built on the GPU that serves them; use --profile gpu-ort meanwhile")
    if tune is not None and chosen is not Profile.CPU:
        raise InvalidInput("tune", f"the options of ONNX Runtime on the CPU are not those of {chosen}")
    fingerprint = _fingerprint(checkpoint, chosen, exact)
    tuned_for = _digest([checkpoint / CONFIG, checkpoint / WEIGHTS], exact)
    record = _read_record(root)
    tuning = _kept(record, tuned_for)
    built = None if force else _current(root, record, fingerprint, chosen, tuning)
    if built is None:
        built = _build(checkpoint, root, chosen, exact, tuning, _tuned(tuning, tuned_for))
        _write_record(root, _known(built, fingerprint) | _tuned(tuning, tuned_for))
    if tune is not None:
        built = _tune(built, tune)
        _write_record(root, _known(built, fingerprint) | _tuned(built.tuning, tuned_for))
    return built


def _build(
    checkpoint: Path, root: Path, profile: Profile, precision: Precision, tuning: Tuning | None, kept: dict[str, Any]
) -> Built:
    """`kept` is what the record says meanwhile: a build that is killed leaves the tuning for the next."""
    generator = load_generator(checkpoint)
    settings = RepositorySettings(engine=_options(tuning))
    with tempfile.TemporaryDirectory(prefix="choreo-export-") as scratch:
        graphs = export_graphs(generator, Path(scratch), precision, fused=profile is Profile.CPU)
        paths = {name: graph.path for name, graph in zip(GRAPHS, graphs, strict=True)}
        parity = {g.name: {str(batch): error for batch, error in g.parity.items()} for g in graphs}
        native: Sequence[Path] = ()
        if profile is Profile.CPU and precision is Precision.FLOAT32:
            native = _native(generator, Path(scratch) / NATIVE, parity)
        _write_record(root, kept)
        write_repository(root, generator.spec, paths, profile, settings, {"denoiser": native})
    return Built(root, generator.spec, profile.value, precision.value, parity, reused=False, tuning=tuning)


def _native(generator: Generator, folder: Path, parity: dict[str, dict[str, float]]) -> Sequence[Path]:
    """Files of the compiled engine, and its differences among the others'; none where it cannot be had."""
    try:
        spec = generator.spec
        package = build_native(
            generator.denoiser,
            spec.denoiser_inputs(),
            spec.denoiser_outputs(),
            folder,
            lambda rows, seed: sample_inputs("denoiser", spec, rows, seed),
            "unet",
        )
    except (MissingDependency, CannotLower, InvalidArtifact) as error:
        _logger.warning("the denoiser is evaluated by ONNX Runtime, because %s", error)
        return ()
    parity[NATIVE] = {str(batch): difference for batch, difference in package.parity.items()}
    return package.files


def _tune(built: Built, measure: Measure) -> Built:
    """Measure and write the choice into the denoiser's configuration."""
    graph = built.path / "denoiser" / "1" / graph_file(Profile.CPU)
    tuning = measure(graph, built.spec, RepositorySettings().denoiser_max_batch)
    write_config(built.path, built.spec, "denoiser", Profile.CPU, RepositorySettings(engine=tuning.options))
    return replace(built, tuning=tuning)


def _options(tuning: Tuning | None) -> EngineOptions:
    return EngineOptions() if tuning is None else tuning.options


def _choice(field: str, value: str, kind: type[Profile] | type[Precision]) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        raise InvalidInput(field, f"must be one of {', '.join(kind)}, got {value!r}") from error


def _fingerprint(checkpoint: Path, profile: Profile, precision: Precision) -> str:
    """Hash of everything that decides the repository: weights, configuration, networks, exporter, choices."""
    here = Path(__file__).parent
    sources = [*Path(choreo.generators.__file__).parent.glob("*.py"), *here.glob("*.py"), *native_sources()]
    return _digest([checkpoint / CONFIG, checkpoint / WEIGHTS, *sorted(sources)], f"{profile}|{precision}")


def _digest(paths: list[Path], choices: str) -> str:
    digest = hashlib.sha256(choices.encode())
    try:
        for path in paths:
            digest.update(path.read_bytes())
    except OSError as error:
        folder = paths[0].parent
        raise MissingDependency(f"no checkpoint at {folder}; train one or set CHOREO_WEIGHTS ({error})") from error
    return digest.hexdigest()


def _read_record(root: Path) -> dict[str, Any]:
    try:
        record = json.loads((root / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(root: Path, record: dict[str, Any]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    atomic_write(root / RECORD, (json.dumps(record, indent=1) + "\n").encode())


def _known(built: Built, fingerprint: str) -> dict[str, Any]:
    return {"fingerprint": fingerprint, "profile": built.profile, "precision": built.precision, "parity": built.parity}


def _tuned(tuning: Tuning | None, tuned_for: str) -> dict[str, Any]:
    return {} if tuning is None else {"tuned_for": tuned_for, "tuning": tuning.model_dump()}


def _kept(record: dict[str, Any], tuned_for: str) -> Tuning | None:
    """The recorded tuning, if it is of this checkpoint, precision and machine."""
    if "tuning" not in record:
        return None
    try:
        tuning = Tuning.model_validate(record["tuning"])
        if record["tuned_for"] != tuned_for:
            reason = "it is of another checkpoint or precision"
        elif tuning.machine != Machine.here():
            reason = "it is of another machine"
        else:
            return tuning
    except (ValueError, KeyError):
        reason = "its record cannot be read"
    _logger.warning("the engine's tuning is dropped, because %s; `choreo export --tune` measures again", reason)
    return None


def _current(
    root: Path, record: dict[str, Any], fingerprint: str, profile: Profile, tuning: Tuning | None
) -> Built | None:
    try:
        if record["fingerprint"] != fingerprint or record["profile"] != profile.value:
            return None
        if not all((root / graph / "1" / graph_file(profile)).is_file() for graph in GRAPHS):
            return None
        if "tuning" in record and profile is Profile.CPU and (tuning is None or _served(root) != tuning.options):
            return None
        spec, precision, parity = read_spec(root), record["precision"], record["parity"]
        if NATIVE in parity:
            loader.check(root / "denoiser" / "1")
        return Built(root, spec, profile.value, precision, parity, reused=True, tuning=tuning)
    except (ChoreoError, loader.NativeUnavailable, OSError, ValueError, KeyError):
        return None


def _served(root: Path) -> EngineOptions:
    return EngineOptions.from_parameters(read_configs(root)["denoiser"].parameters)
