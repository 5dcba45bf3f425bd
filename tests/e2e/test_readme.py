"""The README's commands, run as they stand there (other ports and folders, and one training step instead of all)."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from leftovers import Leftovers
from tests_data import data_pack

from choreo.data.synthetic.dances import synthesize_dance
from choreo.motion.formats.npz import npz_bytes
from choreo.music.synth import synthesize_song, write_wav
from serving.triton.process import free_ports

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]

pytestmark = pytest.mark.e2e


def command(*words: str) -> str:
    found = [c for c in COMMANDS if all(word in c for word in words)]
    assert found, f"the README shows no command with {words}"
    return found[0]


def run(line: str, timeout: float = 600, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("songs") / "song.wav"
    samples, rate, _ = synthesize_song(120.0, 5.0)
    write_wav(path, samples, rate)
    return path


def test_every_command_is_known_here() -> None:
    """A command added to the README without a test fails this."""
    known = (
        "make demo",
        "make test",
        "choreo generate",
        "choreo serve",
        "choreo models list",
        "choreo batch",
        "choreo beats",
        "choreo structure",
        "choreo train",
        "choreo evaluate",
        "choreo export",
        "choreo loadtest",
        "choreo phrases build",
        "choreo phrases search",
        "curl ",
    )
    assert [c for c in COMMANDS if not any(k in c for k in known)] == []
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_make_demo_dances_and_leaves_nothing(tmp_path: Path) -> None:
    before = Leftovers.now()
    out = tmp_path / "demo"
    run(f"{command('make demo')} OUT={out} </dev/null")
    assert {p.name for p in out.iterdir()} == {"motion.npz", "motion.bvh", "preview.mp4", "report.json"}
    report = json.loads((out / "report.json").read_text())
    assert report["triton"]["nv_inference_count"]["denoiser"] == report["meta"]["rows"]["denoiser"]
    assert {"encode", "retrieve", "sample", "finish", "start", "write"} <= set(report["seconds"])
    with np.load(out / "motion.npz") as motion:
        assert motion["positions"].shape[0] == report["num_frames"] == 360
    assert Leftovers.now() == before


def test_models_list() -> None:
    listed = json.loads(run(command("choreo models list") + " --json").stdout)
    assert [model["name"] for model in listed["models"]] == ["unet-small"]


def test_beats(song: Path) -> None:
    heard = json.loads(run(command("choreo beats").replace("song.wav", str(song)) + " --json").stdout)
    assert heard["tempo"] == pytest.approx(120, rel=0.02)


def test_structure(song: Path) -> None:
    found = json.loads(run(command("choreo structure").replace("song.wav", str(song)) + " --json").stdout)
    assert found["sections"][0]["start"] == 0


@pytest.mark.parametrize("when", ["starting", "dancing"])
def test_an_interrupted_demo_leaves_nothing(when: str, tmp_path: Path) -> None:
    before = Leftovers.now()
    process = subprocess.Popen(
        [".venv/bin/choreo", "demo", "--out", str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    wanted = "tritonserver" if when == "starting" else "raylet"
    _wait_for_child(process.pid, wanted)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode not in (0, -signal.SIGKILL)
    assert Leftovers.now() == before


def _wait_for_child(pid: int, name: str) -> None:
    root = psutil.Process(pid)
    while not any(name in child.name() for child in root.children(recursive=True)):
        assert root.is_running()
        assert root.status() != psutil.STATUS_ZOMBIE, f"ended before {name} was started"
        try:
            root.wait(timeout=0.2)
        except psutil.TimeoutExpired:
            continue


@pytest.mark.parametrize("words", [("choreo generate", "rumba"), ("choreo generate", "--song")], ids=["text", "song"])
def test_generate(words: tuple[str, ...], song: Path, tmp_path: Path) -> None:
    line = command(*words).replace("song.wav", str(song))
    line = re.sub(r"--out \S+", f"--out {tmp_path}", line)
    done = run(line)
    assert (tmp_path / "motion.npz").is_file()
    if "--json" in line:
        assert json.loads(done.stdout)["num_frames"] == 150


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the README's command from a folder of synthetic dancing."""
    folder = tmp_path_factory.mktemp("libraries")
    (folder / "clips").mkdir()
    for move in ("box", "turn", "sway"):
        motion, _, _ = synthesize_dance(move, 120.0, 9.0)
        (folder / "clips" / f"{move}.npz").write_bytes(npz_bytes(motion))
    line = command("choreo phrases build").replace(" clips ", f" {folder / 'clips'} ")
    run(line.replace("--out phrases", f"--out {folder / 'phrases'}"))
    return folder / "phrases"


def test_phrases_search(library: Path, song: Path) -> None:
    line = command("choreo phrases search").replace("song.wav", str(song))
    done = run(line.replace("--phrases phrases", f"--phrases {library}") + " --json")
    document = json.loads(done.stdout)
    assert 1 <= len(document["phrases"]) <= 5
    assert {(phrase["genre"], phrase["licence"]) for phrase in document["phrases"]} == {("waltz", "cc-by-4.0")}


def test_generate_from_a_library(library: Path, tmp_path: Path) -> None:
    line = command("choreo generate", "--phrases").replace("--phrases phrases", f"--phrases {library}")
    run(re.sub(r"--out \S+", f"--out {tmp_path}", line))
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["prior"]["used"]
    assert {phrase["licence"] for phrase in report["phrases"]} == {"cc-by-4.0"}


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    words = shlex.split(command("choreo serve", "--phrases").replace("--phrases phrases", f"--phrases {library}"))
    own = {"CHOREO_PORT": str(port), "CHOREO_DATA_DIR": str(library.parent / "data")}
    process = subprocess.Popen(
        words, cwd=ROOT, env=os.environ | own, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("serving on"):
            break
    else:
        pytest.fail(f"`choreo serve` ended with {process.wait()}")
    yield f"localhost:{port}"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_curl_search(server: str, song: Path) -> None:
    line = command("curl", "/v1/phrases/search").replace("localhost:8000", server).replace("song.wav", str(song))
    document = json.loads(run(line.replace("curl ", "curl -sS --fail-with-body ")).stdout)
    assert len(document["phrases"]) == 3
    assert document["query"]["text_prompt"] == "slow waltz"


def test_batch(song: Path, tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    shutil.copy(song, tmp_path / "songs" / "one.wav")
    line = command("choreo batch").replace("batch songs", f"batch {tmp_path / 'songs'}")
    document = json.loads(run(re.sub(r"--out \S+", f"--out {tmp_path / 'out'}", line)).stdout)
    assert (document["state"], document["items"], document["failed"]) == ("finished", 1, 0)
    (row,) = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert (tmp_path / "out" / json.loads(row)["response"]["files"]["bvh"]).is_file()


def test_generate_from_a_server(server: str, tmp_path: Path) -> None:
    line = command("choreo generate", "--url").replace("localhost:8000", server)
    run(re.sub(r"--out \S+", f"--out {tmp_path}", line))
    assert json.loads((tmp_path / "report.json").read_text())["num_frames"] == 120


def test_curl_jobs(server: str) -> None:
    line = command("curl", "/v1/jobs").replace("localhost:8000", server)
    document = json.loads(run(line.replace("curl ", "curl -sS --fail-with-body ")).stdout)
    assert document["counts"]["total"] == 1
    assert httpx.delete(f"http://{server}/v1/jobs/{document['id']}", trust_env=False).is_success


def test_the_python_client(server: str, song: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    code = code.replace("localhost:8000", server).replace("song.wav", str(song)).replace("out/job", str(tmp_path))
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "python", "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "(150, 22, 3)" in done.stdout
    assert "succeeded 1.0" in done.stdout
    assert len(list(tmp_path.rglob("*.bvh"))) == 2


@pytest.mark.parametrize("words", [("curl", "audio="), ("curl", "-d")], ids=["multipart", "json"])
def test_curl(words: tuple[str, ...], server: str, song: Path, tmp_path: Path) -> None:
    line = command(*words).replace("localhost:8000", server).replace("song.wav", str(song))
    line = line.replace("dance.mp4", str(tmp_path / "dance.mp4")).replace("curl ", "curl -sS --fail-with-body ")
    done = run(line)
    if "dance.mp4" in line:
        assert (tmp_path / "dance.mp4").read_bytes()[4:8] == b"ftyp"
    else:
        assert json.loads(done.stdout)["num_frames"] == 120


def test_export(tmp_path: Path) -> None:
    run(re.sub(r"--out \S+", f"--out {tmp_path / 'repo'}", command("choreo export")))
    assert (tmp_path / "repo" / "unet-small.denoiser" / "config.pbtxt").is_file()


def test_train_smoke(tmp_path: Path) -> None:
    run(re.sub(r"--out \S+", f"--out {tmp_path / 'run'}", command("choreo train", "--smoke")))
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert json.loads((tmp_path / "run" / "data.json").read_text())["training"]["clips"] > 0


@pytest.mark.data
def test_train(library: Path, tmp_path: Path) -> None:
    line = command("choreo train", "--phrases").replace("--phrases runs/phrases", f"--phrases {library}")
    line = re.sub(r"--out \S+", f"--out {tmp_path / 'run'}", line)
    run(f"{line.replace('../shared/data', str(data_pack()))} --smoke")
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert json.loads((tmp_path / "run" / "data.json").read_text())["data_set"].startswith("data-pack")


@pytest.mark.data
def test_evaluate(tmp_path: Path) -> None:
    line = command("choreo evaluate").replace("../shared/data", str(data_pack()))
    line = line.replace("--checkpoint runs/cleared/model", "").replace("runs/cleared/report", str(tmp_path / "report"))
    done = run(re.sub(r"--samples \d+", "--samples 4 --steps 2 --json", line))
    rows = json.loads(done.stdout)["rows"]
    values = {(row["subject"], row["metric"]): row["value"] for row in rows}
    assert values["mean_pose", "foot_skating_ratio"] == 0
    assert values["frames_shuffled", "jerk_m_s3"] > values["noise", "jerk_m_s3"] > values["gt", "jerk_m_s3"]
    assert {"untrained", "generated", "shuffled", "retrieval"} <= {subject for subject, _ in values}
    assert {"report.md", "index.html", "evaluation.json"} <= {p.name for p in (tmp_path / "report").iterdir()}


def test_loadtest(server: str, tmp_path: Path) -> None:
    line = command("choreo loadtest").replace("localhost:8000", server).replace("--rates 0.5,1,2", "--rates 0.5")
    line = line.replace("--seconds 60", "--seconds 6").replace("--out runs/load", f"--out {tmp_path / 'load'}")
    # A small machine may make the generator late (3); what a request gets wrong would be 1.
    done = subprocess.run(
        ["bash", "-c", f"{line} --json"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode in (0, 3), done.stderr[-2000:]
    (found,) = json.loads(done.stdout)["runs"]
    assert found["outcomes"]["failed"] == 0
    assert (tmp_path / "load" / "report.html").is_file()
