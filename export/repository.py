"""The Triton model repository: the graphs of any number of generators, each a model named `<generator>.<graph>`.

A model's folder is built next to its place and swapped in whole, so a crash leaves the old model or the new one. The
same arguments give the same bytes: `config.pbtxt` of the CPU profile can be kept under version control. `models.json`
lists the generators that are served, the default one first; a running server follows it.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import onnx

from choreo.errors import InvalidArtifact, InvalidInput, MissingDependency, NotSaved
from choreo.files import atomic_write, file_sha256, swap_folder
from choreo.generators.spec import GeneratorSpec, GraphSpec, Shapes
from export.model_config import Profile, RepositorySettings, graph_file, model_config, spec_of
from export.triton_config import TritonModelConfig, parse, render

CONFIG: Final = "config.pbtxt"
INDEX: Final = "models.json"
LOCK: Final = ".lock"


def write_generator(
    root: Path,
    spec: GeneratorSpec,
    graphs: Mapping[str, Path],
    profile: Profile = Profile.CPU,
    settings: RepositorySettings | None = None,
    extra_files: Mapping[str, Sequence[Path]] | None = None,
) -> list[Path]:
    """Write a model for each graph of a generator, add it to those that are served, and return the files written.

    Args:
        graphs: file of each graph.
        extra_files: files that go next to a graph, such as a compiled engine's.

    Raises:
        InvalidArtifact: a graph is missing, has other inputs or outputs than the spec, or is not of the profile's kind.
    """
    settings = settings or RepositorySettings()
    for graph in spec.graphs:
        _check_graph(graphs.get(graph.name), graph, profile)
    root = root.resolve()
    written: list[Path] = []
    with _locked(root):
        for graph in spec.graphs:
            model = spec.key(graph.name)
            part = _scratch_folder(root, model)
            try:
                extra = (extra_files or {}).get(graph.name, ())
                files = _fill(part, spec, graph, graphs[graph.name], profile, settings, extra)
                swap_folder(part, root / model)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            written += [root / model / file for file in files]
        listed = _listed(root)
        if spec.name not in listed:
            _write_index(root, [*listed, spec.name])
    return written


def check_writable(root: Path) -> None:
    """Make the repository if it is missing, before any work is done for it.

    Raises:
        NotSaved: it cannot be made or written to.
    """
    with _locked(root):
        pass


def serve_only(root: Path, names: Sequence[str]) -> None:
    """Serve these generators, the first one as default, and no others; what is not served stays on disk.

    Raises:
        MissingDependency: one of them is not in the repository.
    """
    wanted = list(dict.fromkeys(names))
    if served(root) == wanted:  # also where nothing can be written
        return
    with _locked(root):
        there = _in_repository(root)
        for name in wanted:
            if name not in there:
                raise MissingDependency(
                    f"the model repository {root} has no generator {name}; `choreo export` writes it"
                )
        _write_index(root, wanted)


def serve_first(root: Path, name: str) -> None:
    """Make a generator the default one, and serve the others as before."""
    if _listed(root)[:1] == [name]:  # also where nothing can be written
        return
    with _locked(root):
        _write_index(root, [name, *(other for other in _listed(root) if other != name)])


def remove_generator(root: Path, name: str) -> None:
    """Serve a generator no longer and remove its models.

    Raises:
        InvalidInput: there is none of that name.
    """
    with _locked(root):
        if name not in _in_repository(root):
            there = ", ".join(served(root)) or "none"
            raise InvalidInput("model", f"must be one of those in {root} ({there}), got {name[:64]!r}")
        models = [
            model for model, config in read_configs(root).items() if spec_of(config.parameters, model).name == name
        ]
        _write_index(root, [other for other in _listed(root) if other != name])
        for model in models:
            part = _scratch_folder(root, model)
            os.rename(root / model, part)
            shutil.rmtree(part, ignore_errors=True)
        (root / record_name(name)).unlink(missing_ok=True)


def record_name(generator: str) -> str:
    """File in a repository that says what a generator was built from."""
    return f"{generator}.build.json"


def write_config(
    root: Path, spec: GeneratorSpec, graph: GraphSpec, profile: Profile, settings: RepositorySettings
) -> None:
    """Replace the configuration of a model that is there; its graph stays."""
    text = render(model_config(spec, graph, profile, settings))
    atomic_write(root / spec.key(graph.name) / CONFIG, text.encode())


def read_configs(root: Path) -> dict[str, TritonModelConfig]:
    """Configurations of all models in a repository, by name.

    Raises:
        MissingDependency: there is no repository.
        InvalidArtifact: a configuration cannot be read.
    """
    files = sorted(p for p in root.glob(f"*/{CONFIG}") if not p.parent.name.startswith("."))
    if not files:
        raise MissingDependency(f"no model repository at {root}; `choreo export` writes one")
    try:
        configs = {file.parent.name: parse(file.read_text(encoding="utf-8")) for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArtifact(f"the model repository {root} cannot be read: {error}") from error
    for folder, config in configs.items():
        if config.name != folder:
            raise InvalidArtifact(f"the model in folder {folder!r} calls itself {config.name!r}")
    return configs


def read_spec(root: Path, name: str) -> GeneratorSpec:
    """The contract of one generator in a repository.

    Raises:
        MissingDependency: it is not there, or one of its graphs is missing.
        InvalidArtifact: the contract is broken, or its models disagree on it.
    """
    specs = {
        model: spec_of(config.parameters, model)
        for model, config in read_configs(root).items()
        if model.startswith(f"{name}.")
    }
    found = [spec for spec in specs.values() if spec.name == name]
    if not found:
        raise MissingDependency(f"no generator {name} in the repository {root}; `choreo export` writes it")
    if any(spec != found[0] for spec in found):
        raise InvalidArtifact(f"the models of {name} in {root} are of different exports; export it again")
    for graph in found[0].graphs:
        if found[0].key(graph.name) not in specs:
            raise MissingDependency(f"the model repository {root} lacks the {graph.name} of {name}; export it again")
    return found[0]


def served(root: Path) -> list[str]:
    """Names of the generators that a server of this repository serves, the default one first."""
    there = _in_repository(root)
    return [name for name in _listed(root) if name in there] if (root / INDEX).is_file() else sorted(there)


def _in_repository(root: Path) -> set[str]:
    return {spec_of(config.parameters, model).name for model, config in read_configs(root).items()}


def _listed(root: Path) -> list[str]:
    try:
        names = json.loads((root / INDEX).read_text(encoding="utf-8"))["models"]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidArtifact(f"{root / INDEX} cannot be read: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidArtifact(f'{root / INDEX} must be {{"models": [names]}}')
    return names


def _write_index(root: Path, names: Sequence[str]) -> None:
    atomic_write(root / INDEX, (json.dumps({"models": list(names)}) + "\n").encode())


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One writer at a time."""
    with writing(root), (root / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """Files are written into a repository here, which is made if it is missing.

    Raises:
        NotSaved: it cannot be made or written to.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield
    except NotSaved:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotSaved(f"the model repository {root} cannot be written ({reason}); set CHOREO_MODEL_REPO") from error


def _check_graph(path: Path | None, graph: GraphSpec, profile: Profile) -> None:
    if path is None or not path.is_file():
        raise InvalidArtifact(f"the graph of the {graph.name} is missing")
    if profile is Profile.GPU_PLAN:
        if path.suffix != ".plan":
            raise InvalidArtifact(f"the profile {profile} serves TensorRT plans, not {path.name}")
        return
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # the parser raises protobuf's own errors, which onnx does not re-export
        raise InvalidArtifact(f"{path.name} is not an ONNX graph") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise InvalidArtifact(f"{path.name} keeps its weights in a second file; export it as one")
    weights = {tensor.name for tensor in model.graph.initializer}
    _check_tensors(path, "input", [v for v in model.graph.input if v.name not in weights], graph.input_shapes)
    _check_tensors(path, "output", list(model.graph.output), graph.output_shapes)


def _check_tensors(path: Path, role: str, values: list[onnx.ValueInfoProto], expected: Shapes) -> None:
    names = {value.name for value in values}
    if names != set(expected):
        raise InvalidArtifact(f"{path.name} has the {role}s {sorted(names)}, the spec says {sorted(expected)}")
    for value in values:
        tensor = value.type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
        fits = len(dims) == 1 + len(expected[value.name]) and all(
            a is None or a == b for a, b in zip(dims[1:], expected[value.name], strict=True)
        )
        if tensor.elem_type != onnx.TensorProto.FLOAT or not fits or dims[0] is not None:
            raise InvalidArtifact(
                f"{path.name}: {role} {value.name!r} must be float32 of shape (batch, {expected[value.name]}), "
                f"not element type {tensor.elem_type} of shape {dims}"
            )


def _fill(
    folder: Path,
    spec: GeneratorSpec,
    graph: GraphSpec,
    source: Path,
    profile: Profile,
    settings: RepositorySettings,
    extra_files: Sequence[Path],
) -> list[str]:
    """Write a model's files into a new folder; returns their relative paths."""
    (folder / "1").mkdir(parents=True)
    target = f"1/{graph_file(profile)}"
    # A copy, not a hard link: an exporter that rewrites its file in place would change the served model.
    shutil.copyfile(source, folder / target)
    record = {"spec": spec.name, "profile": profile.value, "sha256": file_sha256(folder / target)}
    texts = {CONFIG: render(model_config(spec, graph, profile, settings)), "1/build.json": json.dumps(record) + "\n"}
    if profile is Profile.CPU:
        texts["1/model.py"] = (Path(__file__).parent / "python_backend.py").read_text(encoding="utf-8")
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    for extra in extra_files:
        shutil.copyfile(extra, folder / "1" / extra.name)
    files = [*texts, target, *(f"1/{extra.name}" for extra in extra_files)]
    return files


def _scratch_folder(root: Path, model: str) -> Path:
    """A new name for a model's folder while it is filled; removes what killed writers left under such names."""
    # Next to the repository, because Triton takes every folder inside it, hidden or not, for a model. Only where the
    # repository is a mount of its own, or alone may be written to, there is no place next to it to rename from.
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    mounted = any(line.split()[4] == str(root) for line in mounts)
    place = root if mounted or not os.access(root.parent, os.W_OK) else root.parent
    stem = f".{root.name}.{model}"
    for path in place.glob(f"{stem}.*.part"):
        owner = path.name.removeprefix(f"{stem}.").split("-")[0]
        if not Path(f"/proc/{owner}").exists():
            shutil.rmtree(path, ignore_errors=True)
    return place / f"{stem}.{os.getpid()}-{secrets.token_hex(4)}.part"
