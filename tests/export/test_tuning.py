"""Engine options: their parameters, the choice made from measurements, and how exports keep or drop a choice."""

import importlib.util
import json
import logging
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_generator import GRAPHS, tiny_inputs, tiny_repository, tiny_spec, write_graphs
from typer.testing import CliRunner

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.spec import GraphSpec
from choreo.generators.unet.config import UNetConfig, UNetGeneratorConfig
from choreo.models.conditioner_config import ConditionerConfig
from export import build, models, tuning
from export.build import build_repository
from export.engine_options import EngineOptions
from export.model_config import Profile, RepositorySettings
from export.onnx_graphs import ExportedGraph
from export.repository import read_configs, record_name, write_config
from export.tuning import Comparison, Machine, Sample, Tuning, best_batch, compare, contenders, is_better, joined, tune

TUNED = EngineOptions(instances=1, batch_rows=8)
KEY, CONDITIONER_KEY = tiny_spec().key("denoiser"), tiny_spec().key("conditioner")
RECORD = record_name("tiny")

EVERY_KIND = [
    EngineOptions(instances=instances, intra_op_threads=threads) for instances in (0, 1, 2) for threads in (0, 1, 3)
]


def comparison(speed: float, cpu: float = 1.0, **changes: bool | int | str) -> Comparison:
    return Comparison(changes=changes, speed=speed, cpu=cpu, rounds=9)


def fake_measurement(options: EngineOptions = TUNED, machine: Machine | None = None) -> Tuning:
    best = comparison(1.2, **tuning.changes(options))
    return Tuning(
        machine=machine or Machine.here(),
        load=0.0,
        options=options,
        screened=(best,),
        together=best,
        rows_per_s={1: 50, 8: 80},
    )


class TestText:
    @pytest.mark.parametrize("options", [*EVERY_KIND, TUNED])
    def test_parameters_round_trip(self, options: EngineOptions) -> None:
        assert EngineOptions.from_parameters(options.parameters() | {"choreo": "{}"}) == options

    def test_the_defaults_do_not_depend_on_the_machine(self) -> None:
        assert EngineOptions().parameters() == {
            "runtime": "auto", "instances": "0", "intra_op_threads": "0", "batch_rows": "32",
        }  # fmt: skip
        assert EngineOptions.from_parameters({}) == EngineOptions()

    @pytest.mark.parametrize(
        "broken",
        [{"intra_op_threads": "-1"}, {"instances": "many"}, {"runtime": "NONE"}, {"batch_rows": ""}],
    )
    def test_broken_parameters_are_typed(self, broken: dict[str, str]) -> None:
        with pytest.raises(InvalidArtifact, match=next(iter(broken))):
            EngineOptions.from_parameters(broken)

    @pytest.mark.parametrize("options", EVERY_KIND)
    def test_the_backend_reads_them_in_the_same_way(self, options: EngineOptions, backend: ModuleType) -> None:
        ours = options.session_options()
        theirs = backend.session_options(options.parameters(), options.instance_count())
        for name in ("intra_op_num_threads", "inter_op_num_threads", "execution_mode", "graph_optimization_level"):
            assert getattr(ours, name) == getattr(theirs, name), name
        key = "session.intra_op.allow_spinning"
        assert ours.get_session_config_entry(key) == theirs.get_session_config_entry(key) == "0"
        assert ours.intra_op_num_threads == options.threads() >= 1


@pytest.fixture(scope="module")
def backend() -> Iterator[ModuleType]:
    name = "triton_python_backend_utils"
    before = sys.modules.get(name)
    sys.modules[name] = ModuleType(name)
    source = importlib.util.spec_from_file_location("backend", Path(build.__file__).parent / "python_backend.py")
    assert source is not None
    assert source.loader is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    yield module
    del sys.modules[name]
    if before is not None:
        sys.modules[name] = before


class TestChoice:
    def test_a_contender_is_the_median_of_its_rounds(self) -> None:
        defaults = [Sample(2.0, 4.0), Sample(2.0, 4.0), Sample(9.0, 4.0)]
        samples = [Sample(1.0, 4.0), Sample(1.6, 5.0), Sample(6.0, 6.0)]
        found = compare(EngineOptions(instances=1), samples, defaults)
        assert found == Comparison(changes={"instances": 1}, speed=1.5, cpu=1.25, rounds=3)

    @pytest.mark.parametrize(
        ("speed", "cpu", "better"),
        [(1.02, 1.0, True), (1.019, 0.5, False), (1.5, 1.05, True), (1.5, 1.06, False), (0.9, 0.9, False)],
    )
    def test_speed_at_the_cost_of_too_much_processor_time_is_no_gain(
        self, speed: float, cpu: float, better: bool
    ) -> None:
        assert is_better(comparison(speed, cpu, instances=1)) is better

    def test_faster_options_are_joined_with_the_fastest_value_of_each(self) -> None:
        screened = [
            comparison(1.3, intra_op_threads=1),
            comparison(1.1, intra_op_threads=2),
            comparison(1.2, 1.3, runtime="native"),
            comparison(1.05, instances=2),
            comparison(1.01, runtime="onnxruntime"),
            comparison(0.6, instances=1),
        ]
        assert joined(screened) == EngineOptions(intra_op_threads=1, instances=2)
        assert joined(screened[-2:]) == joined([]) == EngineOptions()

    @pytest.mark.parametrize(
        ("rows_per_s", "batch"),
        [
            ({1: 60, 2: 80, 4: 96, 8: 97, 16: 100, 32: 99}, 8),
            ({1: 100, 2: 90, 4: 80}, 1),
            ({1: 10, 2: 20, 4: 40}, 4),
            ({1: 5}, 1),
        ],
    )
    def test_the_smallest_batch_that_is_nearly_as_fast_as_the_fastest(
        self, rows_per_s: dict[int, float], batch: int
    ) -> None:
        assert best_batch(rows_per_s) == batch

    @pytest.mark.parametrize(("cores", "instances"), [(1, []), (2, [1]), (4, [1, 2]), (16, [1, 2, 16])])
    def test_every_alternative_is_tried_once_against_the_defaults(
        self, cores: int, instances: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)))
        first, *others = contenders()
        assert first == EngineOptions()
        assert [tuning.changes(options) for options in others] == [{"instances": count} for count in instances]
        assert contenders(native=True) == [EngineOptions(), EngineOptions(runtime="onnxruntime")]

    @pytest.mark.parametrize(("cores", "instances", "threads"), [(1, 1, 1), (2, 2, 1), (8, 8, 1), (64, 8, 8)])
    def test_instances_share_the_cores(
        self, cores: int, instances: int, threads: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)))
        assert (EngineOptions().instance_count(), EngineOptions().threads()) == (instances, threads)
        assert EngineOptions(instances=1).threads() == cores
        assert EngineOptions(instances=100).threads() == 1
        assert EngineOptions().workers() == EngineOptions(instances=1).workers() == cores


def test_measuring_alternates_and_ends(tmp_path: Path) -> None:
    spec, done = tiny_spec(), []
    graph = spec.graph("denoiser").model_copy(update={"max_rows": 4})
    found = tune(write_graphs(tmp_path, spec)["denoiser"], graph, done.append, seconds=1e-3)
    assert len(found.screened) == len(contenders()) - 1
    assert all(c.rounds == 5 and c.speed > 0 and c.cpu > 0 for c in found.screened)
    assert sorted(found.rows_per_s) == [1, 2, 4]
    assert found.options.batch_rows == best_batch(found.rows_per_s)
    assert (found.together is None) == (joined(found.screened) == EngineOptions())
    assert done[-1] == 1.0
    assert max(done) <= 1.0
    assert Tuning.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(("load", "warned"), [(0.2, False), (3.0, True)])
def test_a_busy_machine_causes_a_warning(
    tmp_path: Path, load: float, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load * Machine.here().cores, 0.0, 0.0))
    with caplog.at_level(logging.WARNING):
        spec = tiny_spec()
        graph = spec.graph("denoiser").model_copy(update={"max_rows": 1})
        found = tune(write_graphs(tmp_path, spec)["denoiser"], graph, lambda done: None, seconds=1e-3)
    assert found.load == pytest.approx(load)
    assert ("busy" in caplog.text) is warned


def test_a_graph_that_cannot_be_loaded_is_typed(tmp_path: Path) -> None:
    (tmp_path / "denoiser.onnx").write_bytes(b"broken")
    with pytest.raises(InvalidArtifact, match=r"denoiser\.onnx"):
        tune(tmp_path / "denoiser.onnx", tiny_spec().graph("denoiser"), lambda done: None, seconds=1e-3)


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a generator that is loaded and exported as the tiny one."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    config = UNetGeneratorConfig(
        spec=tiny_spec(),
        conditioner=ConditionerConfig(window=8, music_dim=6, text_dim=7, context_dim=5, num_heads=1),
        denoiser=UNetConfig(channels=4, context_dim=5),
        music_mean=(0.0,) * 6,
        music_std=(1.0,) * 6,
    )
    (folder / "config.json").write_text(config.model_dump_json())
    (folder / "model.safetensors").write_bytes(b"weights")

    def fake_export(network: Any, scratch: Path, precision: Any, fused: bool) -> list[ExportedGraph]:
        graphs = write_graphs(scratch, network.spec)
        return [ExportedGraph(name, graphs[name], {1: 1e-6}) for name in GRAPHS]

    monkeypatch.setattr(models, "load_generator", lambda path: SimpleNamespace(spec=tiny_spec()))
    monkeypatch.setattr(models, "export_graphs", fake_export)
    monkeypatch.setattr(models, "_native", lambda *_: {})
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "model_repo"


def fake_tune(graph: Path, spec: GraphSpec) -> Tuning:
    assert graph.is_file()
    assert spec == tiny_spec().graph("denoiser")
    return fake_measurement()


def served(root: Path) -> EngineOptions:
    return EngineOptions.from_parameters(read_configs(root)[KEY].parameters)


class TestExport:
    def test_without_tuning_the_defaults_are_written(self, checkpoint: Path, root: Path) -> None:
        built = build_repository(checkpoint, root)
        assert built.tuning is None
        assert "tuning" not in json.loads((root / RECORD).read_text())
        for key, config in read_configs(root).items():
            expected = EngineOptions(instances=1 if key == CONDITIONER_KEY else 0)
            assert expected.parameters().items() <= config.parameters.items()
            assert config.instance_groups[0].count == 1

    def test_a_tuning_is_written_with_what_was_measured(self, checkpoint: Path, root: Path) -> None:
        build_repository(checkpoint, root)
        built = build_repository(checkpoint, root, tune=fake_tune)
        assert built.reused
        assert built.tuning == fake_measurement()
        assert served(root) == TUNED
        conditioner = EngineOptions.from_parameters(read_configs(root)[CONDITIONER_KEY].parameters)
        assert conditioner == EngineOptions(instances=1)
        record = json.loads((root / RECORD).read_text())["tuning"]
        assert Tuning.model_validate(record) == built.tuning
        assert json.loads(json.dumps(built.document()))["tuning"] == record

    @pytest.mark.parametrize("how", ["same", "force", "exporter", "graph", "config", "killed", "profile"])
    def test_exporting_the_same_checkpoint_again_keeps_it(
        self, checkpoint: Path, root: Path, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        build_repository(checkpoint, root, tune=fake_tune)
        if how == "exporter":
            monkeypatch.setattr(build, "_fingerprint", lambda *_: "another exporter")
        elif how == "graph":
            (root / KEY / "1" / "model.onnx").unlink()
        elif how == "config":
            write_config(root, tiny_spec(), tiny_spec().graph("denoiser"), Profile.CPU, RepositorySettings())
        elif how == "killed":
            with monkeypatch.context() as patch:
                patch.setattr(build, "write_generator", fail)
                with pytest.raises(OSError, match="killed"):
                    build_repository(checkpoint, root, force=True)
        elif how == "profile":
            build_repository(checkpoint, root, "gpu-ort")
        built = build_repository(checkpoint, root, force=how == "force")
        assert built.reused is (how == "same")
        assert built.tuning == fake_measurement()
        assert served(root) == TUNED
        assert build_repository(checkpoint, root).reused

    @pytest.mark.parametrize("why", ["another checkpoint", "another machine", "cannot be read"])
    def test_a_tuning_that_is_no_longer_valid_is_dropped_with_a_warning(
        self, checkpoint: Path, root: Path, why: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        elsewhere = Machine(processor="another", cores=99, onnxruntime="0")
        build_repository(
            checkpoint, root, tune=lambda *_: fake_measurement(machine=elsewhere if "machine" in why else None)
        )
        if why == "another checkpoint":
            (checkpoint / "model.safetensors").write_bytes(b"other weights")
        elif why == "cannot be read":
            record = json.loads((root / RECORD).read_text())
            record["tuning"] = {"options": 1}
            (root / RECORD).write_text(json.dumps(record))
        with caplog.at_level(logging.WARNING):
            built = build_repository(checkpoint, root)
        assert why in caplog.text
        assert "--tune" in caplog.text
        assert not built.reused
        assert built.tuning is None
        assert served(root) == EngineOptions()
        caplog.clear()
        assert build_repository(checkpoint, root).reused
        assert not caplog.records

    def test_only_the_cpu_profile_is_tuned(self, checkpoint: Path, root: Path) -> None:
        with pytest.raises(InvalidInput) as error:
            build_repository(checkpoint, root, "gpu-ort", tune=fake_tune)
        assert error.value.field == "tune"
        assert not root.exists()

    def test_a_failed_measurement_leaves_a_usable_repository(self, checkpoint: Path, root: Path) -> None:
        with pytest.raises(OSError, match="killed"):
            build_repository(checkpoint, root, tune=fail)
        assert build_repository(checkpoint, root).reused

    def test_the_command(self, checkpoint: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from serving.cli.main import app

        monkeypatch.setattr(tuning, "tune", partial(tune, seconds=1e-3))
        argv = ["export", "--checkpoint", str(checkpoint), "--out", str(root), "--tune", "--json"]
        done = CliRunner().invoke(app, argv)
        assert done.exit_code == 0, done.output
        document = json.loads(done.stdout)
        assert sorted(map(int, document["tuning"]["rows_per_s"])) == list(tuning.BATCHES)
        assert served(root).model_dump() == document["tuning"]["options"]


def fail(*_: Any, **__: Any) -> Any:
    raise OSError("killed")


@pytest.mark.e2e
@pytest.mark.parametrize("options", [TUNED, EngineOptions(instances=2, intra_op_threads=2)])
def test_triton_serves_with_the_options(tmp_path: Path, options: EngineOptions) -> None:
    import asyncio

    from serving.engines.local import LocalEngine
    from serving.engines.triton import TritonEngine
    from serving.triton.launch import TritonSettings
    from serving.triton.supervisor import TritonServer

    root, spec = tiny_repository(tmp_path / "model_repo"), tiny_spec()
    write_config(root, spec, spec.graph("denoiser"), Profile.CPU, RepositorySettings(engine=options))
    inputs = tiny_inputs(spec, "denoiser", 5)

    async def both(url: str) -> list[Any]:
        engines = [TritonEngine([url]), LocalEngine(root)]
        try:
            return [(await engine.infer(KEY, inputs))["x0"] for engine in engines]
        finally:
            for engine in engines:
                await engine.close()

    with TritonServer(root, TritonSettings(canary_period_s=3600, shared_memory_mib=2)) as server:
        remote, here = asyncio.run(both(server.grpc_url))
    np.testing.assert_allclose(remote, here, atol=1e-6)
    np.testing.assert_allclose(here, np.sqrt(inputs["x"]) / 2, rtol=1e-6)
