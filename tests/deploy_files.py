"""The files of deploy/ as tests read them: documents, containers, environments, Dockerfiles, commands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import yaml

from serving.settings import LogSettings, Settings

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILES = sorted((DEPLOY / "docker").glob("*.Dockerfile"))
USER = 10001
"""User of the images, which manifests name as well."""
FOREIGN = re.compile(r"RAY_|NVIDIA_|PIP_|POSTGRES_|GF_|PATH$|HOME$")
"""Variables of other programs."""


def documents(path: Path) -> list[dict[str, Any]]:
    """Documents of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def manifests() -> list[dict[str, Any]]:
    """Kubernetes objects of the cluster and of the training job."""
    files = [*sorted((DEPLOY / "kubernetes").glob("*.yaml")), DEPLOY / "training" / "job.yaml"]
    found = [document for file in files for document in documents(file)]
    return [document for document in found if "kind" in document and document["kind"] != "Kustomization"]


def manifest(kind: str, name: str) -> dict[str, Any]:
    """One of them."""
    return next(m for m in manifests() if (m["kind"], m["metadata"]["name"]) == (kind, name))


def pod_templates() -> dict[str, dict[str, Any]]:
    """Templates of pods, by what makes them."""
    found = {}
    for document in manifests():
        name = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] == "RayService":
            cluster = document["spec"]["rayClusterConfig"]
            found[f"{name}/head"] = cluster["headGroupSpec"]["template"]
            found |= {f"{name}/{group['groupName']}": group["template"] for group in cluster["workerGroupSpecs"]}
        elif "template" in document.get("spec", {}):
            found[name] = document["spec"]["template"]
    return found


def containers(template: dict[str, Any]) -> list[dict[str, Any]]:
    """All containers of a pod."""
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Instructions of a Dockerfile with their arguments, lines joined and comments left out."""
    lines = [line for line in dockerfile.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    split = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in split]


def last(dockerfile: Path, instruction: str) -> str:
    """What the last instruction of a kind says."""
    return [rest for name, rest in instructions(dockerfile) if name == instruction][-1]


def environment(dockerfile: Path) -> dict[str, str]:
    """Variables that an image sets."""
    pairs = [shlex.split(rest) for name, rest in instructions(dockerfile) if name == "ENV"]
    return dict(pair.split("=", 1) for line in pairs for pair in line)


def check_environment(variables: dict[str, str]) -> None:
    """Every variable is a setting or another program's, and every value one that its setting takes."""
    known = {f"CHOREO_{name.upper()}": name for name in (*LogSettings.model_fields, *Settings.model_fields)}
    ours = {name: value for name, value in variables.items() if not FOREIGN.match(name)}
    assert set(ours) <= set(known)
    Settings(**{known[name]: value for name, value in ours.items() if "${" not in value})


def check_command(words: list[str]) -> None:
    """A command of `choreo` that its parser takes, with the options that it has; nothing is run."""
    from serving.cli.main import app

    assert words[0] == "choreo"
    group: Any = typer.main.get_command(app)
    with group.make_context("choreo", words[1:2], resilient_parsing=True) as context:
        name, command, _ = group.resolve_command(context, words[1:])
        command.make_context(name, words[2:], parent=context)


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a selector of labels selects a pod."""
    return selector.get("matchLabels", {}).items() <= labels.items()


def selected_ports(policy: dict[str, Any]) -> Iterator[int]:
    """Ports that a network policy opens to its pods."""
    for rule in policy["spec"].get("ingress", []):
        for port in rule.get("ports", []):
            yield port["port"]
