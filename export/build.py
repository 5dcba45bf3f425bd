"""Checkpoint to Triton models in one call, skipped where the repository has them already.

A tuning outlives that: models that are built again keep it as long as checkpoint, precision and machine are the same.
Where one of them changed, the defaults are written and a warning says so.

In the CPU profile, graphs that their generator can lower have a compiled engine in their folder (export/native).
"""

import hashlib
import inspect
import json
import logging
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import choreo.diffusion
import choreo.generators
import choreo.models
from choreo.errors import ChoreoError, InvalidInput, MissingDependency
from choreo.files import atomic_write, file_sha256
from choreo.generators.checkpoint import CONFIG, WEIGHTS, read_config
from choreo.generators.registry import generator_class
from choreo.generators.spec import GeneratorSpec, GraphSpec
from export.engine_options import EngineOptions
from export.model_config import Profile, RepositorySettings, graph_file
from export.native import loader
from export.native.parity_key import native_key
from export.native.sources import sources as native_sources
from export.precision import Precision
from export.repository import (
    check_writable,
    read_configs,
    read_spec,
    record_name,
    write_config,
    write_generator,
    writing,
)
from export.tuning import Machine, Tuning

Measure = Callable[[Path, GraphSpec], Tuning]
"""File of a graph that is evaluated at every step, and its contract -> what is fastest here (`export.tuning.tune`)."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Built:
    """A generator ready to be served; `parity` is each graph's largest difference from torch by batch size."""

    path: Path
    spec: GeneratorSpec
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
    """Export a checkpoint, compare it with torch and write its models into the repository `root`, unless current.

    Args:
        tune: measures the engine's options; omitted: a tuning that still holds is kept, else there are the defaults.

    Raises:
        InvalidInput: unknown profile or precision, or one that cannot be tuned.
        MissingDependency: no checkpoint there, or the profile needs what this machine lacks.
        InvalidArtifact: the checkpoint is broken or its graphs differ from torch.
        NotSaved: the repository cannot be made or written to.
    """
    chosen, exact = _choice("profile", profile, Profile), _choice("precision", precision, Precision)
    if chosen is Profile.GPU_PLAN:
        raise MissingDependency("TensorRT plans are built on the GPU that serves them; use --profile gpu-ort meanwhile")
    if tune is not None and chosen is not Profile.CPU:
        raise InvalidInput("tune", f"the options of ONNX Runtime on the CPU are not those of {chosen}")
    tuned_for = _digest([checkpoint / CONFIG, checkpoint / WEIGHTS], exact)
    fingerprint = _fingerprint(checkpoint, chosen, exact)
    spec = exported_spec(checkpoint)
    record = _read_record(root, spec)
    tuning = _kept(record, tuned_for)
    built = None if force else _current(root, spec, record, fingerprint, chosen, tuning)
    if built is None:
        built = _build(checkpoint, root, chosen, exact, tuning, _tuned(tuning, tuned_for))
        _write_record(root, spec, _known(built, fingerprint) | _tuned(tuning, tuned_for))
    if tune is not None:
        built = _tune(built, tune)
        _write_record(root, spec, _known(built, fingerprint) | _tuned(built.tuning, tuned_for))
    return built


def current_build(checkpoint: Path, root: Path) -> Built | None:
    """What `build_repository` with its defaults would find built already; None: it would build. Imports no torch.

    Raises:
        MissingDependency: no checkpoint there.
        InvalidArtifact: the checkpoint is broken.
    """
    tuned_for = _digest([checkpoint / CONFIG, checkpoint / WEIGHTS], Precision.FLOAT32)
    fingerprint = _fingerprint(checkpoint, Profile.CPU, Precision.FLOAT32)
    spec = exported_spec(checkpoint)
    record = _read_record(root, spec)
    tuning = _kept(record, tuned_for)
    return _current(root, spec, record, fingerprint, Profile.CPU, tuning)


def _build(
    checkpoint: Path, root: Path, profile: Profile, precision: Precision, tuning: Tuning | None, kept: dict[str, Any]
) -> Built:
    """`kept` is what the record says meanwhile: a build that is killed leaves the tuning for the next."""
    from export.models import exported_models  # torch, which a server whose models are current does without

    check_writable(root)
    settings = RepositorySettings(engine=_options(tuning))
    with tempfile.TemporaryDirectory(prefix="choreo-export-") as scratch:
        models = exported_models(checkpoint, Path(scratch), profile, precision)
        spec = exported_spec(checkpoint)
        _write_record(root, spec, kept)
        write_generator(root, spec, models.graphs, profile, settings, models.native)
    return Built(root, spec, profile.value, precision.value, models.parity, reused=False, tuning=tuning)


def exported_spec(checkpoint: Path) -> GeneratorSpec:
    """The checkpoint's spec, as its graphs carry it: with the hash of the weights.

    Raises:
        MissingDependency: no checkpoint there.
        InvalidArtifact: its configuration is broken.
    """
    spec = read_config(checkpoint).spec
    return spec.model_copy(update={"weights_sha256": file_sha256(checkpoint / WEIGHTS)})


def _tune(built: Built, measure: Measure) -> Built:
    """Measure the dearest graph, and write the choice into the configurations of all that are evaluated per step."""
    graphs = [graph for graph in built.spec.graphs if graph.per_step]
    dearest = max(graphs, key=lambda graph: graph.cost)
    tuning = measure(built.path / built.spec.key(dearest.name) / "1" / graph_file(Profile.CPU), dearest)
    for graph in graphs:
        write_config(built.path, built.spec, graph, Profile.CPU, RepositorySettings(engine=tuning.options))
    return replace(built, tuning=tuning)


def _options(tuning: Tuning | None) -> EngineOptions:
    return EngineOptions() if tuning is None else tuning.options


def _choice(field: str, value: str, kind: type[Profile] | type[Precision]) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        raise InvalidInput(field, f"must be one of {', '.join(kind)}, got {value!r}") from error


def _fingerprint(checkpoint: Path, profile: Profile, precision: Precision) -> str:
    """Hash of everything that decides the models: weights, configuration, networks, exporter, choices."""
    packages = [Path(str(package.__file__)).parent for package in (choreo.generators, choreo.models, choreo.diffusion)]
    sources = [*Path(__file__).parent.glob("*.py"), *(file for package in packages for file in package.rglob("*.py"))]
    family = generator_class(read_config(checkpoint).spec.family)
    sources += [Path(inspect.getfile(family)), *native_sources()]  # which may be of another package
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


def _read_record(root: Path, spec: GeneratorSpec) -> dict[str, Any]:
    try:
        record = json.loads((root / record_name(spec.name)).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(root: Path, spec: GeneratorSpec, record: dict[str, Any]) -> None:
    with writing(root):
        atomic_write(root / record_name(spec.name), (json.dumps(record, indent=1) + "\n").encode())


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
    root: Path,
    spec: GeneratorSpec,
    record: dict[str, Any],
    fingerprint: str,
    profile: Profile,
    tuning: Tuning | None,
) -> Built | None:
    """What is in the repository, if it is whole and of this fingerprint."""
    try:
        if record["fingerprint"] != fingerprint or record["profile"] != profile.value:
            return None
        if read_spec(root, spec.name) != spec:
            return None
        versions = {graph.name: root / spec.key(graph.name) / "1" for graph in spec.graphs}
        if not all((folder / graph_file(profile)).is_file() for folder in versions.values()):
            return None
        if "tuning" in record and profile is Profile.CPU and (tuning is None or _served(root, spec) != tuning.options):
            return None
        parity = record["parity"]
        for name in generator_class(spec.family).lowerings:
            if native_key(spec, name) in parity:
                loader.check(versions[name])
        return Built(root, spec, profile.value, record["precision"], parity, reused=True, tuning=tuning)
    except (ChoreoError, loader.NativeUnavailable, OSError, ValueError, KeyError):
        return None


def _served(root: Path, spec: GeneratorSpec) -> EngineOptions:
    """Engine options of the graphs that are evaluated per step."""
    name = next(graph.name for graph in spec.graphs if graph.per_step)
    return EngineOptions.from_parameters(read_configs(root)[spec.key(name)].parameters)
