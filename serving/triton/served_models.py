"""The generators of a repository on one supervised Triton server, kept in step with the repository while it runs.

`choreo export` and `choreo models remove` change the repository; the supervisor looks at it now and then. A new
generator is loaded; one that changed is reloaded between requests; one that was removed is unloaded once its requests
have ended. A generator that cannot be loaded is logged and left out, and the others go on.
"""

import contextlib
import fcntl
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from choreo.errors import ChoreoError, MissingDependency
from choreo.generators.spec import GeneratorSpec
from export.native.backend import link_model
from export.repository import CONFIG, LOCK, read_configs, read_spec, served
from export.triton_config import TritonModelConfig, parse
from serving.engines.channel import channel_options
from serving.engines.leases import LeaseBoard

_LOG = logging.getLogger(__name__)
LOAD_S = 120.0
"""Longest time for Triton to load or unload a model."""
POLL_S = 0.02
"""Time between looks at a model that Triton unloads."""

_Signature = tuple[tuple[str, int, int], ...]


class ServedModels:
    """What is linked, loaded and published.

    Args:
        repository: where generators are exported to.
        work: folder of the supervisor; `models` in it is Triton's repository, `leases` the board of the samplers.
    """

    def __init__(self, repository: Path, work: Path) -> None:
        self._repository = repository
        self.folder = work / "models"
        self.leases = work / "leases"
        self.board = LeaseBoard(self.leases)
        self.configs: dict[str, TritonModelConfig] = {}
        """Of the models that are loaded, by Triton's name."""
        self._specs: dict[str, GeneratorSpec] = {}
        self._signatures: dict[str, _Signature] = {}
        self._refused: dict[str, _Signature] = {}
        self._order: list[str] = []
        """Of the generators in the repository's list, the default one first."""
        self._problem = ""

    def link_all(self) -> list[str]:
        """Link everything that is to be served into an empty folder; names of Triton's models.

        Raises:
            MissingDependency: there is no repository.
            InvalidArtifact: no generator in it can be read.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.configs, self._specs, self._signatures, self._refused = {}, {}, {}, {}
        problem: ChoreoError | None = None
        with _no_writer(self._repository, wait=True):
            self._order = served(self._repository)
            for name in self._order:
                try:
                    self._link(name)
                except ChoreoError as error:
                    problem = error
                    self._refuse(name, error)
        if not self._specs and problem is not None:
            raise problem
        return list(self.configs)

    def backend_processes(self) -> int:
        """Processes of its Python backend that Triton starts for what is linked, each with shared memory of its own."""
        linked = [parse((self.folder / key / CONFIG).read_text(encoding="utf-8")) for key in self.configs]
        counts = [[group.count for group in config.instance_groups] for config in linked if config.backend == "python"]
        return sum(sum(groups) or 1 for groups in counts)

    def loaded(self, url: str, ready: set[str]) -> None:
        """After a start: leave out what Triton could not load, and publish the rest.

        Args:
            url: gRPC address of the server.
            ready: names of the models that it has loaded.
        """
        for name, spec in list(self._specs.items()):
            missing = [graph.name for graph in spec.graphs if spec.key(graph.name) not in ready]
            if missing:
                self._refuse(name, f"Triton could not load its {missing[0]}")
                self._unload(url, name)
        self._publish()

    def follow(self, url: str) -> bool:
        """Bring one generator into step with the repository, if one is not; whether anything changed.

        While somebody writes to the repository, and while its list or a configuration cannot be read, all stays as it
        is.

        Args:
            url: gRPC address of the server.
        """
        with _no_writer(self._repository) as quiet:
            if not quiet:
                return False
            try:
                wanted = {name: _signature(self._repository, name) for name in served(self._repository)}
            except MissingDependency:
                wanted = {}  # a repository without models serves nothing
            except ChoreoError as error:
                if str(error) != self._problem:
                    _LOG.error("the model repository cannot be read, what is served stays: %s", error)
                self._problem = str(error)
                return False
            return self._follow(url, wanted)

    def _follow(self, url: str, wanted: dict[str, _Signature]) -> bool:
        self._problem = ""
        before, self._order = self._order, list(wanted)
        for name in [*wanted, *self._specs]:
            if name in self._specs and wanted.get(name) == self._signatures[name]:
                continue
            if name not in self._specs and self._refused.get(name) == wanted[name]:
                continue
            return self._change(url, name, name in wanted)
        if before != self._order:
            self._publish()
        return False

    def _change(self, url: str, name: str, wanted: bool) -> bool:
        if name not in self._specs:
            return self._load(url, name)
        names = [other for other in self._names() if wanted or other != name]
        self.board.publish(names, [name] if wanted else [])
        with self.board.unused(name) as unused:
            if not unused:
                return False  # its requests go on, and this is called again
            self._unload(url, name)
            if wanted:
                self._load(url, name)
        self._publish()
        return True

    def _load(self, url: str, name: str) -> bool:
        client = InferenceServerClient(url, channel_args=channel_options())
        try:
            self._link(name)
            for graph in self._specs[name].graphs:
                client.load_model(self._specs[name].key(graph.name), client_timeout=LOAD_S)
        except (ChoreoError, OSError, InferenceServerException) as error:
            self._refuse(name, error)
            if name in self._specs:
                self._unload(url, name)
            return False
        finally:
            client.close()
        _LOG.warning("the model %s was loaded", name)
        self._publish()
        return True

    def _unload(self, url: str, name: str) -> None:
        client = InferenceServerClient(url, channel_args=channel_options())
        keys = [self._specs[name].key(graph.name) for graph in self._specs[name].graphs]
        try:
            for key in keys:
                client.unload_model(key, client_timeout=LOAD_S)
            _wait_until_unloaded(client, keys)
        except InferenceServerException as error:
            _LOG.warning("the model %s could not be unloaded: %s", name, error)
        finally:
            client.close()
        self._forget(name)

    def _link(self, name: str) -> None:
        signature = _signature(self._repository, name)
        spec = read_spec(self._repository, name)
        configs = read_configs(self._repository)
        models = {spec.key(graph.name): configs[spec.key(graph.name)] for graph in spec.graphs}
        for key, config in models.items():
            _remove(self.folder / key)
            link_model(self._repository, config, self.folder)
            _keep_folder(self.folder / key)
        self.configs |= models
        self._specs[name], self._signatures[name] = spec, signature
        self._refused.pop(name, None)

    def _forget(self, name: str) -> None:
        spec = self._specs.pop(name)
        self._signatures.pop(name)
        for graph in spec.graphs:
            self.configs.pop(spec.key(graph.name), None)
            _remove(self.folder / spec.key(graph.name))

    def _names(self) -> list[str]:
        """What is loaded, in the repository's order."""
        return sorted(self._specs, key=lambda n: self._order.index(n) if n in self._order else len(self._order))

    def _publish(self) -> None:
        self.board.publish(self._names())

    def _refuse(self, name: str, reason: object) -> None:
        self._refused[name] = _signature(self._repository, name)
        _LOG.error("the model %s is not served: %s", name, reason)


@contextlib.contextmanager
def _no_writer(repository: Path, wait: bool = False) -> Iterator[bool]:
    """Whether no process writes to a repository, or once none does; inside, none can begin."""
    try:
        file = (repository / LOCK).open()
    except OSError:  # it was never written here, as a repository that was copied to its place
        yield True
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH if wait else fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _wait_until_unloaded(client: InferenceServerClient, keys: list[str]) -> None:
    """Triton answers before it has ended the processes of a model, which then look as if they had died."""
    deadline = time.monotonic() + LOAD_S
    while time.monotonic() < deadline:
        states = {m.name: m.state for m in client.get_model_repository_index(client_timeout=LOAD_S).models}
        if all(states.get(key, "") in ("", "UNAVAILABLE") for key in keys):
            return
        time.sleep(POLL_S)


def _keep_folder(model: Path) -> None:
    """Put a folder with links in the place of a link: Triton lists no models while one of them leads nowhere."""
    if model.is_symlink():
        target = model.resolve()
        model.unlink()
        model.mkdir()
        for path in target.iterdir():
            (model / path.name).symlink_to(path)


def _signature(repository: Path, name: str) -> _Signature:
    """Changes whenever a model of a generator is exported again."""
    files = sorted(repository.glob(f"{name}.*/{CONFIG}"))
    return tuple((file.parent.name, file.stat().st_ino, file.stat().st_mtime_ns) for file in files)


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
