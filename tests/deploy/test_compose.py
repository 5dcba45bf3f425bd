"""The composition: its form, its environments, and that files, ports and networks are there."""

import re
from typing import Any, Literal

import pytest
from deploy_files import DEPLOY, ROOT, check_environment, documents
from pydantic import BaseModel, ConfigDict, Field

from serving.ray.app import GRACE_S, STOP_S
from serving.settings import Settings

FOLDER = DEPLOY / "compose"
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


class Strict(BaseModel):
    """A part of the Compose specification with the fields that are used here; any other one is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Build(Strict):
    context: str
    dockerfile: str


class Health(Strict):
    test: list[str] = Field(min_length=2)
    interval: str = Field(pattern=r"^\d+s$")
    timeout: str = Field(pattern=r"^\d+s$")
    retries: int


class Depends(Strict):
    condition: Literal["service_started", "service_healthy"]


class Service(Strict):
    image: str
    build: Build | None = None
    command: list[str] = []
    environment: dict[str, str] = {}
    ports: list[str] = []
    volumes: list[str] = []
    networks: list[str] = Field(min_length=1)
    depends_on: dict[str, Depends] = {}
    healthcheck: Health | None = None
    shm_size: str = ""
    stop_grace_period: str = ""
    restart: Literal["unless-stopped"]
    cap_drop: list[str] = []
    security_opt: list[str] = []


class Composition(Strict):
    name: str
    services: dict[str, Service]
    networks: dict[str, dict[str, Any]]
    volumes: dict[str, dict[str, Any]]


@pytest.fixture
def composition() -> Composition:
    [document] = documents(FOLDER / "compose.yaml")
    return Composition.model_validate(document)


def test_environments_are_settings(composition: Composition) -> None:
    for service in composition.services.values():
        check_environment(service.environment)


def test_files_and_volumes_are_there(composition: Composition) -> None:
    used = set()
    for service in composition.services.values():
        for source, target in (volume.split(":")[:2] for volume in service.volumes):
            assert target.startswith("/")
            if source.startswith("."):
                assert (FOLDER / source).resolve().is_file(), source
            else:
                used.add(source)
        if service.build is not None:
            context = (FOLDER / service.build.context).resolve()
            assert context == ROOT
            assert (context / service.build.dockerfile).is_file()
    assert used == set(composition.volumes)


def test_services_reach_each_other_and_nobody_else_reaches_them(composition: Composition) -> None:
    services = composition.services
    for service in services.values():
        assert set(service.networks) <= set(composition.networks)
        assert all(port.startswith("127.0.0.1:") for port in service.ports)
        assert "no-new-privileges:true" in service.security_opt
        for other, depends in service.depends_on.items():
            assert set(services[other].networks) & set(service.networks)
            assert depends.condition == "service_started" or services[other].healthcheck is not None
        assert not re.search(r":latest$", service.image)
        assert ":" in service.image
    assert services["postgres"].networks == ["jobs"]
    assert composition.networks["jobs"] == {"internal": True}


def test_what_is_accepted_is_answered_before_the_container_is_killed(composition: Composition) -> None:
    server = composition.services["choreo"]
    drain = float(server.environment["CHOREO_DRAIN_S"])
    assert drain >= Settings().request_timeout_s
    assert int(server.stop_grace_period.removesuffix("s")) >= drain + GRACE_S + STOP_S
    assert server.shm_size == "1gb"


def test_prometheus_and_grafana_find_what_they_show(composition: Composition) -> None:
    [scrape] = documents(FOLDER / "prometheus.yml")
    [[target]] = [entry["targets"] for entry in scrape["scrape_configs"][0]["static_configs"]]
    host, _, port = target.partition(":")
    assert composition.services[host].ports == [f"127.0.0.1:{port}:{port}"]
    mounts = dict(volume.split(":")[:2] for volume in composition.services["prometheus"].volumes)
    assert {"/etc/prometheus/" + name for name in scrape["rule_files"]} <= set(mounts.values())
    [sources] = documents(FOLDER / "grafana" / "datasource.yaml")
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"
    [providers] = documents(FOLDER / "grafana" / "dashboards.yaml")
    folder = providers["providers"][0]["options"]["path"]
    mounts = dict(volume.split(":")[:2] for volume in composition.services["grafana"].volumes)
    assert mounts["../grafana/choreo.json"] == f"{folder}/choreo.json"


def test_the_page_names_every_variable_that_must_be_given() -> None:
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    for name in set(re.findall(r"\$\{(\w+):\?", text)):
        assert re.search(rf"^{name}=", PAGE, re.MULTILINE), name
