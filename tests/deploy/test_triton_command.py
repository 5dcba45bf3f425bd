"""The command that Triton is started with in its image and in the cluster."""

import json
import re
import subprocess

import pytest
from deploy_files import DEPLOY, last, manifest

from serving.triton.process import Installation

IMAGE = json.loads(last(DEPLOY / "docker" / "triton.Dockerfile", "CMD"))


def test_image_and_cluster_start_it_alike() -> None:
    [container] = manifest("StatefulSet", "choreo-triton")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == IMAGE


def test_nobody_can_load_models_or_use_http() -> None:
    assert "--model-control-mode=none" in IMAGE
    assert "--allow-http=false" in IMAGE


def test_there_are_advisories_up_to_the_release_that_is_built_on() -> None:
    """NVIDIA's bulletin 5848 asks for 26.04 or later."""
    [(year, month)] = re.findall(r"TRITON_RELEASE=(\d\d)\.(\d\d)", (DEPLOY / "docker/triton.Dockerfile").read_text())
    assert (int(year), int(month)) >= (26, 4)


@pytest.mark.slow
def test_the_server_knows_every_option() -> None:
    installation = Installation.find()
    command = [str(installation.binary), "--help"]
    done = subprocess.run(command, env=installation.environment(), capture_output=True, text=True, check=False)
    known = set(re.findall(r"--[a-z][a-z0-9-]+", done.stdout + done.stderr))
    assert {word.partition("=")[0] for word in IMAGE[1:]} <= known
