"""Programs of the JavaScript world that read files as their users' viewers do: three.js, three-vrm, gltf-validator.

They are installed once into a temporary folder, from npm; tests are skipped with the reason where that cannot be.
"""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

PACKAGES: Final = (
    "three@0.187.0",
    "@pixiv/three-vrm@3.5.5",
    "@pixiv/three-vrm-animation@3.5.5",
    "gltf-validator@2.0.0-dev.3.10",
)
SCRIPTS: Final = Path(__file__).parent / "node"
INSTALL_S: Final = 120
RUN_S: Final = 120


def run_node(script: str, *arguments: str | Path, folder: Path) -> Any:
    """The JSON that a script of `SCRIPTS` prints.

    Args:
        script: name of its file.
        arguments: of the script.
        folder: that `node_folder` made.
    """
    command = ["node", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_S)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def node_folder(parent: Path) -> Path:
    """A folder with the packages and the scripts; skips the test where it cannot be made."""
    reason = _install(parent / "node")
    if reason is not None:
        pytest.skip(reason)
    return parent / "node"


@cache
def _install(folder: Path) -> str | None:
    """Why the packages could not be installed; None if they were."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "there is no node or no npm"
    shutil.copytree(SCRIPTS, folder)
    command = [npm, "install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error", *PACKAGES]
    environment = os.environ | {"npm_config_update_notifier": "false"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=INSTALL_S
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"npm did not install within {INSTALL_S} s"
    return None if done.returncode == 0 else f"npm could not install: {done.stderr.strip()[-200:]}"
