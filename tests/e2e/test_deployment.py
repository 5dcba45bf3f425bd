"""What a cluster runs, without containers: the Triton image's command, and the RayService's Serve configuration."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from deploy_files import DEPLOY, last, manifest
from served import DANCE
from waiting import wait_until

from choreo.errors import InvalidInput
from serving.ray.session import end_session
from serving.ray.stack import check_triton
from serving.triton.process import Installation, end, free_ports, spawn
from serving.util.temporary import safe_folder

pytestmark = pytest.mark.e2e

CORES = 8
"""As many as the workers have that the cluster begins with."""
CLUSTER = """
import sys
import ray, yaml
from ray.serve._private.api import serve_start
from ray.serve.schema import ServeDeploySchema

config = ServeDeploySchema.model_validate(yaml.safe_load(sys.argv[1]))
ray.init("local", num_cpus=int(sys.argv[2]), include_dashboard=False, object_store_memory=200 << 20,
         log_to_driver=False, _temp_dir=sys.argv[3])
serve_start(http_options=config.http_options.model_dump()).deploy_apps(config, _blocking=True)
print("serving", flush=True)
sys.stdin.read()
"""


@contextmanager
def triton(repository: Path, folder: Path) -> Iterator[str]:
    """A server started by the image's command, on ports and with a backend of this machine; its gRPC address."""
    installation = Installation.find()
    grpc, metrics = free_ports(2)
    here = {
        "--model-repository": str(repository),
        "--grpc-address": "127.0.0.1",
        "--grpc-port": str(grpc),
        "--metrics-address": "127.0.0.1",
        "--metrics-port": str(metrics),
    }
    words = [word.partition("=") for word in json.loads(last(DEPLOY / "docker" / "triton.Dockerfile", "CMD"))[1:]]
    options = [f"{name}={here.get(name, value)}" if value else name for name, _, value in words]
    more = [f"--backend-directory={installation.link_backend(folder)}", f"--cache-directory={installation.caches}"]
    process = spawn(
        [str(installation.binary), *options, *more], installation.environment(), folder, folder / "triton.log"
    )
    try:
        yield f"127.0.0.1:{grpc}"
    finally:
        end(process, 10)


@contextmanager
def cluster(config: str, environment: dict[str, str]) -> Iterator[None]:
    """A Ray with the application of a Serve configuration."""
    with tempfile.TemporaryDirectory(prefix="rs-", dir=safe_folder()) as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, config, str(CORES), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        try:
            assert process.stdout is not None
            assert "serving\n" in iter(process.stdout.readline, "")
            yield
        finally:
            process.communicate(timeout=60)
            end_session(Path(folder))


def is_up(url: str) -> bool:
    try:
        asyncio.run(check_triton([url]))
    except InvalidInput:
        return False
    return True


def test_the_cluster_dances(repository: Path, tmp_path: Path) -> None:
    settings = manifest("ConfigMap", "choreo-settings")["data"]
    config = yaml.safe_load(manifest("RayService", "choreo")["spec"]["serveConfigV2"])
    [port, absent] = free_ports(2)
    config["http_options"] = {"host": "127.0.0.1", "port": port}
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [{"name": "test", "key": "k" * 32}]}))
    keys.chmod(0o440)
    with triton(repository, tmp_path) as address:
        wait_until(lambda: is_up(address), 120)
        here = {
            "CHOREO_TRITON_URL": json.dumps([address, f"127.0.0.1:{absent}"]),  # one that the autoscaler may start
            "CHOREO_DATA_DIR": str(tmp_path / "data"),
            "CHOREO_API_KEYS_FILE": str(keys),
            "CHOREO_LOG_FORMAT": "text",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0" * 64,
        }
        server = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False)
        with cluster(yaml.safe_dump(config), settings | here), server:
            wait_until(lambda: server.get("/readyz").status_code == 200, 120)
            assert server.get("/-/healthz").text == "success"  # the workers' readiness probe
            assert server.post("/v1/generate", json=DANCE).status_code == 401
            danced = server.post("/v1/generate", json=DANCE, headers={"Authorization": f"Bearer {'k' * 32}"})
            assert danced.status_code == 200, danced.text
            assert "choreo_requests_waiting 0.0" in server.get("/metrics").text
