"""`choreo serve` in an unkind environment: odd folders, proxies, parts that die, and the end of it."""

import json
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from otlp_receiver import ReceivedSpan, otlp_receiver
from served import DANCE, SEGMENTS, Command, serving
from waiting import wait_until

pytestmark = pytest.mark.e2e

PROXY = "http://127.0.0.1:9"
PROXIED = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), PROXY)
LONG = DANCE | {"num_steps": 100, "duration": 20.0}

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
LOGS = {"CHOREO_LOG_FORMAT": "json", "CHOREO_LOG_LEVEL": "debug", "CHOREO_ACCESS_LOG": "-"}
REPLICAS = {"ingress", "encoder", "retriever", "sampler", "finisher"}
PARENTS = {
    "encode": "POST /v1/generate",
    "retrieve": "POST /v1/generate",
    "sample": "POST /v1/generate",
    "finish": "POST /v1/generate",
    "EncodeStage/encode": "encode",
    "RetrieveStage/retrieve": "retrieve",
    "SampleStage/sample": "sample",
    "triton.infer": "SampleStage/sample",
    "FinishStage/deliver": "finish",
    "postprocess": "FinishStage/deliver",
    "render": "FinishStage/deliver",
}


def own_segments(pid: int) -> list[Path]:
    """Shared memory of one process."""
    return [path for path in SEGMENTS.glob("choreo-*") if f"-{pid}-" in path.name]


def mapped(process: psutil.Process) -> str:
    """Files that a process has mapped, a line each."""
    return "\n".join(entry.path for entry in process.memory_maps())


def test_a_server_survives_its_surroundings_and_its_parts(tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / "my dänces"
    folder.mkdir()
    (folder / "repository").symlink_to(repository, target_is_directory=True)
    with serving(folder, folder / "repository", LC_ALL="C", **PROXIED) as server:
        assert server.dance().status_code == 200
        assert [line for line in server.said if "serving on" not in line] == []
        loaded = {" ".join(part.cmdline())[:200]: mapped(part) for part in server.parts()}
        assert any("numpy" in files for files in loaded.values())
        assert not [name for name, files in loaded.items() if "libtorch" in files or "/pandas/" in files]
        assert not [name for name in loaded if re.search("/(monitor|dashboard|log_monitor).py", name)]

        assert server.restarts() == dict.fromkeys(("triton", "encoder", "retriever", "sampler", "finisher"), 0)
        sampler = server.part("ServeReplica:choreo:Sampler")
        assert own_segments(sampler.pid)
        sampler.kill()
        wait_until(lambda: not own_segments(sampler.pid), 10)
        wait_until(server.works)

        triton = server.part("tritonserver")
        triton.suspend()
        wait_until(lambda: server.probe() == 503, 30)
        wait_until(lambda: not triton.is_running(), 30)
        wait_until(server.works)
        wait_until(lambda: server.probe() == 200)
        wait_until(lambda: (server.restarts()["sampler"], server.restarts()["triton"]) == (1, 1))

        with ThreadPoolExecutor(5) as pool:
            inside = [pool.submit(server.dance, **LONG) for _ in range(4)]
            wait_until(lambda: server.in_flight() == len(inside))
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.probe() == 503, 10)
            refused = server.dance()
            assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
            assert [answer.result().status_code for answer in inside] == [200] * 4
        assert server.process.wait(60) == 0


def test_a_server_without_ray_ends_and_says_so(tmp_path: Path, repository: Path) -> None:
    with serving(tmp_path, repository) as server, ThreadPoolExecutor(5) as pool:
        parts = psutil.Process(server.process.pid).children(recursive=True)
        inside = [pool.submit(server.dance, num_steps=100, seed=i) for i in range(5)]
        wait_until(lambda: server.in_flight() == len(inside))
        server.part("raylet").kill()
        assert [answer.result().status_code for answer in inside] == [200] * len(inside)
        server.part("gcs_server").kill()
        assert server.process.wait(90) == 1
    assert "choreo: the server was stopped: Ray's head process has died" in server.said[-1]
    assert json.dumps(server.said).count("Traceback") == 0
    assert not [part for part in parts if part.is_running() and part.status() != psutil.STATUS_ZOMBIE]


def test_a_request_is_one_trace_and_one_name_in_all_processes(tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    with otlp_receiver() as receiver:
        environment = receiver.environment | LOGS | {"OTEL_BSP_SCHEDULE_DELAY": "200", "CHOREO_DATA_DIR": str(tmp_path)}
        with serving(tmp_path, repository, **environment) as server:
            headers = {"X-Request-Id": "dance-1", "traceparent": f"00-{TRACE}-{PARENT}-01"}
            body = DANCE | {"use_rag": True, "format": "bvh"}
            answer = httpx.post(f"{server.url}/v1/generate", json=body, headers=headers, timeout=120, trust_env=False)
            assert answer.status_code == 200

            def spans(name: str) -> list[ReceivedSpan]:
                return [s for s in list(receiver.spans) if s.name == name and s.trace_id == TRACE]

            wait_until(lambda: all(spans(name) for name in ("POST /v1/generate", *PARENTS)), 30)
            wait_until(lambda: components(server, "dance-1") >= REPLICAS, 30)
        lines = [json.loads(line) for line in server.said]
    (root,) = spans("POST /v1/generate")
    assert root.span.parent_span_id.hex() == PARENT
    for name, parent in PARENTS.items():
        (above,) = spans(parent)
        assert {span.span.parent_span_id for span in spans(name)} == {above.span.span_id}, name
    assert {span.resource["choreo.component"] for span in receiver.spans} == REPLICAS
    assert len(spans("triton.infer")) >= DANCE["num_steps"]
    assert (
        sum(span.attributes["choreo.rows"] for span in spans("triton.infer"))
        == spans("sample")[0].attributes["choreo.rows"]
    )
    for line in lines:
        assert {"time", "level", "logger", "component", "process", "message"} <= line.keys()
        assert line.get("trace_id", TRACE) == TRACE or line.get("request_id") != "dance-1"
    (access,) = [line for line in lines if line["logger"] == "choreo.access" and line["request_id"] == "dance-1"]
    assert (access["status"], access["trace_id"], access["component"]) == (200, TRACE, "ingress")
    assert any(line["logger"] == "tritonserver" for line in lines)
    assert [line["message"] for line in lines if line["component"] == "serve" and "serving on" in line["message"]]


def components(server: Command, request_id: str) -> set[str]:
    """Processes that have a line about a request, which is in the trace."""
    lines = [json.loads(line) for line in list(server.said)]
    return {
        line["component"] for line in lines if (line.get("request_id"), line.get("trace_id")) == (request_id, TRACE)
    }
