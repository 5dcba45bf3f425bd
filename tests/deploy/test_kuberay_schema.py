"""The RayService against KubeRay's own schema, where it is there: `make deploy-check CRD=ray.io_rayservices.yaml`."""

import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from deploy_files import manifest

CRD = os.environ.get("KUBERAY_CRD", "")


def closed(schema: Any) -> Any:
    """The schema with every object of named properties refusing others, as the API server warns of them."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    if found.get("type") == "object" and "properties" in found:
        found.setdefault("additionalProperties", False)
    if found.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
    return found


@pytest.mark.skipif(not CRD, reason="KUBERAY_CRD names no definition of RayService")
def test_kuberay_takes_the_service() -> None:
    definition = yaml.load(Path(CRD).read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    [version] = [version for version in definition["spec"]["versions"] if version["name"] == "v1"]
    spec = closed(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    errors = jsonschema.Draft7Validator(spec).iter_errors(manifest("RayService", "choreo")["spec"])
    assert [f"{error.json_path}: {error.message[:200]}" for error in errors] == []
