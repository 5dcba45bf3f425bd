"""The generators of a repository on one supervised Triton server, kept in step with the repository while it runs.

`choreo export` and `choreo models remove` change the repository; the supervisor looks at it now and then. A new
generator is loaded; one that changed is reloaded between requests; one that was removed is unloaded once its requests
have ended. A generator that cannot be loaded is logged and left out, and the others go on.
"""

import logging
import shutil
from pathlib import Path

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from choreo.errors import ChoreoError
from choreo.generators.spec import GeneratorSpec
from export.native.backend import link_model
from export.repository import CONFIG, read_configs, read_spec, served
from export.triton_config import TritonModelConfig
from serving.engines.channel import channel_options
from serving.engines.leases import LeaseBoard

_LOG = logging.getLogger(__name__)
LOAD_S = 120.0
"""Longest time for Triton to load or unload a model."""

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

    def link_all(self) -> list[str]:
        """Link everything that is to be served into an empty folder; names of Triton's models.

        Raises:
            MissingDependency: there is no repository.
            InvalidArtifact: no generator in it can be read.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.configs, self._specs, self._signatures, self._refused = {}, {}, {}, {}
        wanted, problem = served(self._repository), None
        for name in wanted:
            try:
                self._link(name)
            except ChoreoError as error:
                problem = error
                self._refuse(name, error)
        if not self._specs and problem is not None:
            raise problem
        return list(self.configs)

    def loaded(self, ready: set[str]) -> None:
        """After a start: leave out what Triton could not load, and publish the rest."""
        for name, spec in list(self._specs.items()):
            missing = [graph.name for graph in spec.graphs if spec.key(graph.name) not in ready]
            if missing:
                self._refuse(name, f"Triton could not load its {missing[0]}")
                self._forget(name)
        self._publish()

    def follow(self, url: str) -> bool:
        """Bring one generator into step with the repository, if one is not; whether anything changed.

        Args:
            url: gRPC address of the server.
        """
        try:
            wanted = {name: _signature(self._repository, name) for name in served(self._repository)}
        except ChoreoError:
            wanted = {}  # a repository without models serves nothing
        for name in [*wanted, *self._specs]:
            if name in self._specs and wanted.get(name) == self._signatures[name]:
                continue
            if name not in self._specs and self._refused.get(name) == wanted[name]:
                continue
            return self._change(url, name, name in wanted)
        return False

    def _change(self, url: str, name: str, wanted: bool) -> bool:
        if name not in self._specs:
            return self._load(url, name)
        names = [other for other in self._specs if wanted or other != name]
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
        try:
            for graph in self._specs[name].graphs:
                client.unload_model(self._specs[name].key(graph.name), client_timeout=LOAD_S)
        except InferenceServerException as error:
            _LOG.warning("the model %s could not be unloaded: %s", name, error)
        finally:
            client.close()
        self._forget(name)

    def _link(self, name: str) -> None:
        signature = _signature(self._repository, name)
        spec = read_spec(self._repository, name)
        configs = read_configs(self._repository)
        for graph in spec.graphs:
            key = spec.key(graph.name)
            link_model(self._repository, configs[key], self.folder)
            self.configs[key] = configs[key]
        self._specs[name], self._signatures[name] = spec, signature
        self._refused.pop(name, None)

    def _forget(self, name: str) -> None:
        spec = self._specs.pop(name)
        self._signatures.pop(name)
        for graph in spec.graphs:
            self.configs.pop(spec.key(graph.name), None)
            _remove(self.folder / spec.key(graph.name))

    def _publish(self) -> None:
        self.board.publish(list(self._specs))

    def _refuse(self, name: str, reason: object) -> None:
        self._refused[name] = _signature(self._repository, name)
        _LOG.error("the model %s is not served: %s", name, reason)


def _signature(repository: Path, name: str) -> _Signature:
    """Changes whenever a model of a generator is exported again."""
    files = sorted(repository.glob(f"{name}.*/{CONFIG}"))
    return tuple((file.parent.name, file.stat().st_ino, file.stat().st_mtime_ns) for file in files)


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
