"""A generator that lives in one folder of the tests, from its training to its removal, next to the shipped U-Net.

Nothing of the program is edited for it: it is found by the entry point of its package.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests_data import data_pack
from waiting import wait_until

from choreo.generators.checkpoint import CONFIG
from choreo.music.synth import synthesize_song, write_wav
from serving.settings import Settings

pytestmark = pytest.mark.e2e

TESTS = Path(__file__).parents[1]
TOY = TESTS / "toy_generator"
UNET, FAMILY = "unet-small", "toy"
STEPS = 3
DANCE = {"text_prompt": "a slow waltz", "num_steps": STEPS, "duration": 3.0, "seed": 11, "use_rag": False}
ONE_ROW_PER_STEP = DANCE | {"guidance_scale": 1.0}


@dataclass
class Programs:
    """The command line, in an environment where the toy package is installed."""

    environment: Mapping[str, str]

    def command(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "serving.cli.main", *map(str, words)]

    def run(self, *words: str | Path) -> Any:
        """Run a command with `--json`, and return its document."""
        line = self.command(*words, "--json")
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Programs:
    site = tmp_path_factory.mktemp("site")
    information = site / "choreo_toy-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: choreo-toy\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[choreo.generators]\ntoy = toy:ToyGenerator\n")
    models = tmp_path_factory.mktemp("repository") / "models"
    shutil.copytree(repository, models)
    path = os.pathsep.join([str(site), str(TOY), *filter(None, [os.environ.get("PYTHONPATH")])])
    return Programs(os.environ | {"PYTHONPATH": path, "CHOREO_MODEL_REPO": str(models)})


@pytest.fixture(scope="module")
def checkpoint(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained by its recipe."""
    run = tmp_path_factory.mktemp("run")
    return Path(programs.run("train", TOY / "recipe.yaml", "--out", run)["checkpoint"])


@dataclass
class Service:
    """A running `choreo serve`."""

    process: subprocess.Popen[str]
    client: httpx.Client

    def generate(self, model: str | None = None, **fields: Any) -> httpx.Response:
        named = {} if model is None else {"model": model}
        return self.client.post("/v1/generate", json=DANCE | named | fields)

    def models(self) -> list[str]:
        return [model["name"] for model in self.client.get("/v1/models").json()["models"]]

    def metric(self, name: str, **labels: str) -> float:
        return _sum(self.client.get("/metrics").text, name, labels)

    def triton_metric(self, name: str, model: str) -> float:
        """A counter of Triton itself, whose address is in the command line of its process."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            port = re.search(r"--metrics-port[= ](\d+)", " ".join(child.cmdline()))
            if port:
                url = f"http://127.0.0.1:{port[1]}/metrics"
                return _sum(httpx.get(url, trust_env=False).text, name, {"model": model})
        raise AssertionError("there is no Triton server")


def _sum(text: str, name: str, labels: Mapping[str, str]) -> float:
    samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


@pytest.fixture(scope="module")
def service(programs: Programs, checkpoint: Path) -> Iterator[Service]:
    words = programs.command("serve", "--port", "0", "--model", UNET, "--model", checkpoint)
    process = subprocess.Popen(
        words, env=programs.environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    url = next((found[1] for line in process.stderr if (found := re.search(r"serving on (\S+)", line))), None)
    assert url is not None, f"`choreo serve` ended with {process.wait()}"
    log: list[str] = []
    drained = threading.Thread(target=log.extend, args=(process.stderr,))  # a full pipe would block the server
    drained.start()
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        yield Service(process, client)
    process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=120)
    drained.join()
    assert code == 0, "".join(log)


def test_what_training_wrote_names_the_family(checkpoint: Path) -> None:
    config = json.loads((checkpoint / CONFIG).read_text())
    assert (config["spec"]["name"], config["spec"]["family"]) == ("toy", FAMILY)


def test_generate_dances_without_servers(programs: Programs, checkpoint: Path, tmp_path: Path) -> None:
    report = programs.run("generate", "--model", checkpoint, "--text", "a waltz", "--duration", "3", "--out", tmp_path)
    assert report["num_frames"] == 90
    assert (tmp_path / "motion.npz").is_file()


def test_evaluate_scores_it(programs: Programs, checkpoint: Path) -> None:
    data = data_pack()
    document = programs.run(
        "evaluate", "--data", data, "--checkpoint", checkpoint, "--samples", "2", "--steps", "2", "--no-rag"
    )
    values = {(row["subject"], row["metric"]): row["value"] for row in document["rows"]}
    assert document["checkpoint"] == str(checkpoint)
    assert values["generated", "jerk_m_s3"] > 0


def test_both_are_listed(service: Service) -> None:
    assert service.models() == [UNET, "toy"]
    listed = service.client.get("/v1/models").json()["models"]
    assert [(model["name"], model["family"], model["default"]) for model in listed] == [
        (UNET, "unet", True),
        ("toy", FAMILY, False),
    ]


@pytest.mark.parametrize("model", [None, UNET, "toy"])
def test_a_request_chooses_its_generator(service: Service, model: str | None) -> None:
    name = model or UNET
    before = {other: service.metric("choreo_motions_total", model=other) for other in (UNET, "toy")}
    answer = service.generate(model)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["meta"]["model"] == name
    assert document["num_frames"] == 90
    after = {other: service.metric("choreo_motions_total", model=other) for other in (UNET, "toy")}
    assert {other: after[other] - before[other] for other in after} == {name: 1.0, ({UNET, "toy"} - {name}).pop(): 0.0}
    assert service.metric("choreo_rows_total", model=name, graph="denoiser") > 0


def test_an_unknown_generator_is_refused_with_the_known_ones(service: Service) -> None:
    answer = service.generate("tango")
    assert answer.status_code == 422
    assert "model" in answer.text
    assert UNET in answer.text
    assert "toy" in answer.text


def test_a_song_goes_through_it(service: Service, tmp_path: Path) -> None:
    write_wav(tmp_path / "song.wav", *synthesize_song(120.0, 4.0)[:2])
    fields = {key: json.dumps(value) for key, value in DANCE.items() if key != "text_prompt"}
    answer = service.client.post(
        "/v1/generate", data=fields | {"model": "toy"}, files={"audio": (tmp_path / "song.wav").read_bytes()}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["meta"]["model"] == "toy"


def test_both_share_step_batches_under_mixed_load(service: Service) -> None:
    """Requests of one generator go through its denoiser together; each step of a request is one row."""

    def counts() -> dict[str, tuple[float, float]]:
        names = ("nv_inference_count_total", "nv_inference_exec_count_total")
        return {m: tuple(service.triton_metric(n, f"{m}.denoiser") for n in names) for m in (UNET, "toy")}  # type: ignore[misc]

    before = counts()
    steps, callers = 25, 6
    with ThreadPoolExecutor(2 * callers) as pool:
        asked = [
            pool.submit(service.generate, model, **ONE_ROW_PER_STEP | {"num_steps": steps, "seed": seed})
            for seed in range(callers)
            for model in (UNET, "toy")
        ]
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {200}
    for model, (rows, executions) in counts().items():
        assert rows - before[model][0] >= steps * callers
        assert executions - before[model][1] < rows - before[model][0]


@dataclass
class Load:
    """Callers that ask for the default generator without a pause, and every answer that was not a motion."""

    service: Service
    failed: list[str] = field(default_factory=list)
    answered: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Load":
        self._threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(3)]
        for thread in self._threads:
            thread.start()
        return self

    def _ask(self, seed: int) -> None:
        while not self._stop.is_set():
            answer = self.service.generate(seed=seed)
            self.answered += 1
            if answer.status_code != 200:
                self.failed.append(answer.text)

    def __exit__(self, *about: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_generators_come_and_go_under_load(programs: Programs, service: Service, checkpoint: Path) -> None:
    """A running server follows the repository, and no request of another generator fails."""
    with Load(service) as load:
        assert programs.run("models", "remove", "toy")["models"] == [UNET]
        wait_until(lambda: service.models() == [UNET])
        assert service.generate("toy").status_code == 422

        programs.run("export", "--checkpoint", checkpoint)
        wait_until(lambda: sorted(service.models()) == sorted([UNET, "toy"]))
        answer = service.generate("toy")
        assert answer.status_code == 200, answer.text
        assert answer.json()["meta"]["model"] == "toy"
        reached = load.answered
        wait_until(lambda: load.answered > reached)
    assert load.failed == []
    listed = programs.run("models", "list")["models"]
    assert {model["name"]: model["family"] for model in listed} == {UNET: "unet", "toy": FAMILY}


def test_the_program_names_no_toy() -> None:
    """The generator is in its folder alone."""
    root = TESTS.parent
    packages = ("choreo", "retrieval", "export", "serving", "loadtest", "bench")
    sources = [path for package in packages for path in (root / package).rglob("*.py")]
    assert [path for path in sources if "ToyGenerator" in path.read_text() or "toy_generator" in path.read_text()] == []
    assert Settings().weights.name == UNET
