"""Kubernetes manifests: schemas, and that names, ports, times, labels and commands agree with each other."""

import importlib
import re
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deploy_files import (
    DEPLOY,
    ROOT,
    USER,
    check_command,
    check_environment,
    containers,
    documents,
    manifest,
    manifests,
    matches,
    pod_templates,
    selected_ports,
)
from pydantic import BaseModel, ConfigDict, Field
from ray.serve.schema import ServeDeploySchema

from choreo.errors import InvalidInput
from serving.settings import Settings

KUBERNETES = "1.34"
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
BUILT_IN = [document for document in manifests() if document["kind"] != "RayService"]
TEMPLATES = pod_templates()
RAY = {name: template for name, template in TEMPLATES.items() if name.startswith("RayService")}


class Strict(BaseModel):
    """A part of KubeRay's API (ray.io/v1) with the fields that are used here; any other one is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AuthOptions(Strict):
    mode: str = Field(pattern="^token$")
    secretName: str


class AutoscalerOptions(Strict):
    idleTimeoutSeconds: int = Field(ge=0)
    securityContext: dict[str, Any]


class HeadGroup(Strict):
    rayStartParams: dict[str, str]
    template: dict[str, Any]


class WorkerGroup(HeadGroup):
    groupName: str
    replicas: int = Field(ge=0)
    minReplicas: int = Field(ge=0)
    maxReplicas: int = Field(ge=0)


class ClusterConfig(Strict):
    rayVersion: str
    authOptions: AuthOptions
    enableInTreeAutoscaling: bool
    autoscalerOptions: AutoscalerOptions
    headGroupSpec: HeadGroup
    workerGroupSpecs: list[WorkerGroup] = Field(min_length=1)


class UpgradeStrategy(Strict):
    type: str = Field(pattern="^(NewCluster|NewClusterWithIncrementalUpgrade|None)$")


class RayServiceSpec(Strict):
    upgradeStrategy: UpgradeStrategy
    rayClusterDeletionDelaySeconds: int = Field(ge=0)
    excludeHeadPodFromServeSvc: bool
    serveConfigV2: str
    rayClusterConfig: ClusterConfig


def service() -> RayServiceSpec:
    return RayServiceSpec.model_validate(manifest("RayService", "choreo")["spec"])


def serve_config() -> ServeDeploySchema:
    return ServeDeploySchema.model_validate(yaml.safe_load(service().serveConfigV2))


def settings() -> dict[str, str]:
    found: dict[str, str] = manifest("ConfigMap", "choreo-settings")["data"]
    return found


def choreo_settings() -> Settings:
    names = {f"CHOREO_{name.upper()}": name for name in Settings.model_fields}
    return Settings(**{names[name]: value for name, value in settings().items() if name in names})


@pytest.mark.parametrize("document", BUILT_IN, ids=lambda d: f"{d['kind']}-{d['metadata']['name']}")
def test_built_in_objects_are_valid(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", TEMPLATES)
def test_pods_are_valid_and_restricted(name: str) -> None:
    """Those that the namespace's policy, `restricted`, would refuse never start."""
    template = TEMPLATES[name]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", **template["metadata"]}}
    kubernetes_validate.validate({**pod, "spec": template["spec"]}, KUBERNETES, strict=True)
    context = template["spec"]["securityContext"]
    assert context["runAsNonRoot"]
    assert {context[key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {USER}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    volumes = {volume["name"] for volume in template["spec"]["volumes"]}
    for container in containers(template):
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


@pytest.mark.parametrize("name", TEMPLATES)
def test_commands_are_those_of_the_program(name: str) -> None:
    for container in containers(TEMPLATES[name]):
        command = container.get("command", [])
        if command and command[0] != "tritonserver":
            check_command(command)


def test_every_file_is_applied() -> None:
    [kustomization] = documents(DEPLOY / "kubernetes" / "kustomization.yaml")
    files = {file.name for file in (DEPLOY / "kubernetes").glob("*.yaml")}
    assert set(kustomization["resources"]) == files - {"kustomization.yaml", "prometheus-adapter.yaml"}
    images = {image["name"] for image in kustomization["images"]}
    cluster = [template for name, template in TEMPLATES.items() if not name.startswith("Job")]
    assert {container["image"] for template in cluster for container in containers(template)} == images
    assert {m["metadata"].get("namespace", "choreo") for m in manifests()} == {"choreo"}


def test_what_is_served_is_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    [application] = serve_config().applications
    module, _, name = application.import_path.partition(":")
    build = getattr(importlib.import_module(module), name)
    with pytest.raises(InvalidInput, match="CHOREO_TRITON_URL"):
        build({})
    for variable, value in settings().items():
        monkeypatch.setenv(variable, value)
    built = build(application.args)
    assert built._bound_deployment.name == "Ingress"
    deployments = {str(deployment.name) for deployment in application.deployments}
    assert deployments == {"Ingress", "Encoder", "Retriever", "Sampler", "Finisher"}
    with pytest.raises(InvalidInput, match=r"args\.port"):
        build({"port": 1})


def test_stages_grow_with_their_queues_and_fit_on_the_nodes() -> None:
    [application] = serve_config().applications
    [group] = service().rayClusterConfig.workerGroupSpecs
    least, most = 0.0, 0.0
    for deployment in application.deployments:
        given = deployment.model_dump(exclude_unset=True)
        scaling = given.get("autoscaling_config", {})
        cpus = given["ray_actor_options"]["num_cpus"]
        least += cpus * scaling.get("min_replicas", given.get("num_replicas"))
        most += cpus * scaling.get("max_replicas", given.get("num_replicas"))
        if scaling:
            assert 0 < scaling["target_ongoing_requests"] <= choreo_settings().max_ongoing_requests
    cores = float(group.rayStartParams["num-cpus"])
    assert cores == float(group.template["spec"]["containers"][0]["resources"]["requests"]["cpu"])
    assert least <= cores * (group.minReplicas - 1), "one node may go"
    assert most <= cores * group.maxReplicas
    assert group.minReplicas <= group.replicas <= group.maxReplicas


def test_environments_are_settings() -> None:
    check_environment(settings())
    secrets = {
        item["name"]: "" for t in RAY.values() for container in containers(t) for item in container.get("env", [])
    }
    check_environment(secrets)
    assert all(
        container["envFrom"] == [{"configMapRef": {"name": "choreo-settings"}}]
        for template in RAY.values()
        for container in containers(template)
    )


def test_the_page_tells_how_to_make_every_secret() -> None:
    text = yaml.safe_dump([manifest("RayService", "choreo"), *TEMPLATES.values()])
    named = set(re.findall(r"secretName: ([\w-]+)", text))
    named |= {
        item["valueFrom"]["secretKeyRef"]["name"]
        for template in TEMPLATES.values()
        for container in containers(template)
        for item in container.get("env", [])
    }
    assert named == {"choreo-jobs", "choreo-keys", "choreo-ray"}
    for name in named:
        assert f"create secret generic {name} " in PAGE
    assert re.search(r"choreo-keys --from-file=keys\.json", PAGE)
    assert choreo_settings().api_keys_file is not None
    assert "choreo-ray --from-literal=auth_token=" in PAGE
    assert "choreo-jobs --from-literal=url=" in PAGE


def test_mounted_folders_are_those_of_the_settings() -> None:
    for template in RAY.values():
        [container] = containers(template)
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {str(choreo_settings().data_dir), str(choreo_settings().api_keys_file.parent), "/dev/shm"} <= mounts


def test_no_request_outlives_the_cluster_that_answers_it() -> None:
    """The old cluster of an upgrade stays for longer than any request may take."""
    longest = choreo_settings().max_timeout_s
    assert service().rayClusterDeletionDelaySeconds > longest
    [application] = serve_config().applications
    given = [deployment.model_dump(exclude_unset=True) for deployment in application.deployments]
    grace = {deployment["name"]: deployment["graceful_shutdown_timeout_s"] for deployment in given}
    assert grace["Ingress"] >= choreo_settings().request_timeout_s
    for template in RAY.values():
        assert template["spec"]["terminationGracePeriodSeconds"] >= grace["Ingress"]


def test_every_triton_that_may_run_has_its_address() -> None:
    triton, scaler = manifest("StatefulSet", "choreo-triton"), manifest("HorizontalPodAutoscaler", "choreo-triton")
    names = [f"choreo-triton-{n}.{triton['spec']['serviceName']}" for n in range(scaler["spec"]["maxReplicas"])]
    assert list(choreo_settings().triton_url) == [f"{name}:8001" for name in names]
    headless = manifest("Service", triton["spec"]["serviceName"])["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["selector"] == triton["spec"]["selector"]["matchLabels"]
    assert matches(triton["spec"]["selector"], triton["spec"]["template"]["metadata"]["labels"])
    assert "replicas" not in triton["spec"], "the autoscaler decides"
    assert scaler["spec"]["scaleTargetRef"]["name"] == triton["metadata"]["name"]
    [container] = triton["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"]: port["port"] for port in headless["ports"]} == ports
    assert f"--grpc-port={ports['grpc']}" in container["command"]
    assert f"--metrics-port={ports['metrics']}" in container["command"]
    assert {container[f"{probe}Probe"]["grpc"]["port"] for probe in ("startup", "readiness", "liveness")} == {8001}


def test_the_autoscaler_asks_for_a_metric_that_exists() -> None:
    [metric] = manifest("HorizontalPodAutoscaler", "choreo-triton")["spec"]["metrics"]
    [adapter] = documents(DEPLOY / "kubernetes" / "prometheus-adapter.yaml")
    [rule] = adapter["rules"]["external"]
    assert metric["external"]["metric"]["name"] == rule["name"]["as"] == rule["seriesQuery"]
    assert f"\n| `{rule['seriesQuery']}` |" in OPERATIONS
    assert rule["seriesQuery"] in rule["metricsQuery"]


@pytest.mark.parametrize("kind", ["PodDisruptionBudget", "NetworkPolicy"])
def test_selectors_select_something(kind: str) -> None:
    labels = [template["metadata"]["labels"] for template in TEMPLATES.values()]
    for document in (d for d in manifests() if d["kind"] == kind):
        selector = document["spec"].get("selector", document["spec"].get("podSelector"))
        assert any(matches(selector, of_pod) for of_pod in labels), document["metadata"]["name"]


def test_every_pod_of_the_server_may_be_moved_only_one_at_a_time() -> None:
    budgets = [d["spec"]["selector"] for d in manifests() if d["kind"] == "PodDisruptionBudget"]
    for name, template in TEMPLATES.items():
        held = sum(matches(selector, template["metadata"]["labels"]) for selector in budgets)
        assert held == (0 if name.startswith("Job") else 1), name


def test_the_network_is_closed_but_for_ports_that_are_listened_on() -> None:
    policies = [d for d in manifests() if d["kind"] == "NetworkPolicy"]
    closed = next(p for p in policies if p["spec"]["podSelector"] == {})
    assert set(closed["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert not closed["spec"].get("ingress")
    for policy in policies:
        pods = [t for t in TEMPLATES.values() if matches(policy["spec"]["podSelector"], t["metadata"]["labels"])]
        listened = {port["containerPort"] for t in pods for c in containers(t) for port in c.get("ports", [])}
        probed = {c["livenessProbe"]["httpGet"]["port"] for t in RAY.values() for c in containers(t)}
        assert set(selected_ports(policy)) <= listened | probed, policy["metadata"]["name"]


def test_ray_is_the_one_that_is_tested() -> None:
    lock = (ROOT / "requirements" / "cpu.lock").read_text()
    assert f"\nray=={service().rayClusterConfig.rayVersion}\n" in lock
    assert (
        serve_config().http_options.port
        == RAY["RayService/choreo/workers"]["spec"]["containers"][0]["ports"][0]["containerPort"]
    )


def test_prometheus_scrapes_what_is_there() -> None:
    [config] = documents(DEPLOY / "prometheus" / "kubernetes.yml")
    server, triton = config["scrape_configs"]
    assert server["static_configs"] == [{"targets": ["choreo-serve-svc.choreo.svc:8000"]}]
    [found] = triton["dns_sd_configs"]
    assert (found["names"], found["port"]) == (["choreo-triton.choreo.svc"], 8002)
