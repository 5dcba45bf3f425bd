"""Training jobs: commands that the CLI takes, and a cloud build whose parts fit together."""

import re
from pathlib import Path
from typing import Any

from deploy_files import DEPLOY, ROOT, check_command, documents, manifest
from pydantic import BaseModel, ConfigDict, Field

from choreo.shipped import recipe_file

FOLDER = DEPLOY / "training"


class Strict(BaseModel):
    """A part of a Google API with the fields that are used here; any other one is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class MachineSpec(Strict):
    machineType: str = Field(pattern=r"^g2-standard-\d+$")
    acceleratorType: str = Field(pattern="^NVIDIA_L4$")
    acceleratorCount: int = Field(ge=1)


class DiskSpec(Strict):
    bootDiskType: str
    bootDiskSizeGb: int = Field(ge=50)


class ContainerSpec(Strict):
    imageUri: str
    command: list[str]
    args: list[str]


class WorkerPoolSpec(Strict):
    replicaCount: int = Field(ge=1)
    machineSpec: MachineSpec
    diskSpec: DiskSpec
    containerSpec: ContainerSpec


class Scheduling(Strict):
    timeout: str = Field(pattern=r"^\d+s$")
    restartJobOnWorkerRestart: bool


class CustomJobSpec(Strict):
    """https://cloud.google.com/vertex-ai/docs/reference/rest/v1/CustomJobSpec."""

    workerPoolSpecs: list[WorkerPoolSpec] = Field(min_length=1)
    scheduling: Scheduling


class Step(Strict):
    id: str
    name: str
    entrypoint: str = ""
    args: list[str]


class Options(Strict):
    dynamicSubstitutions: bool
    logging: str
    machineType: str
    diskSizeGb: int


class CloudBuild(Strict):
    """https://cloud.google.com/build/docs/build-config-file-schema."""

    steps: list[Step]
    substitutions: dict[str, str]
    timeout: str = Field(pattern=r"^\d+s$")
    options: Options


def vertex() -> CustomJobSpec:
    [document] = documents(FOLDER / "vertex.yaml")
    return CustomJobSpec.model_validate(document)


def build() -> CloudBuild:
    [document] = documents(FOLDER / "cloudbuild.yaml")
    return CloudBuild.model_validate(document)


def job() -> dict[str, Any]:
    return manifest("Job", "choreo-training")


def test_both_train_the_same_shipped_recipe() -> None:
    container = job()["spec"]["template"]["spec"]["containers"][0]
    [pool] = vertex().workerPoolSpecs
    there = pool.containerSpec.command + pool.containerSpec.args
    for command in (container["command"], there):
        check_command(command)
        assert recipe_file(Path(command[2])).is_file()
    assert container["command"][:3] == there[:3]


def test_bad_input_ends_a_job_and_lost_nodes_do_not() -> None:
    """`choreo` ends with 2 where another attempt would not help (serving.cli.main)."""
    fail, ignore = job()["spec"]["podFailurePolicy"]["rules"]
    assert fail["onExitCodes"]["values"] == [2]
    assert fail["onExitCodes"]["containerName"] == job()["spec"]["template"]["spec"]["containers"][0]["name"]
    assert ignore["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert job()["spec"]["template"]["spec"]["restartPolicy"] == "Never", "the policy needs it"


def test_the_build_pushes_what_it_built_before_it_submits_it() -> None:
    steps = {step.id: step for step in build().steps}
    assert list(steps) == ["build", "push", "configure", "submit"]
    dockerfile = steps["build"].args[steps["build"].args.index("--file") + 1]
    assert (ROOT / dockerfile).is_file()
    image = steps["build"].args[steps["build"].args.index("--tag") + 1]
    assert steps["push"].args == ["push", image]
    assert f"s|IMAGE|{image}|" in steps["configure"].args
    config = next(arg for arg in steps["submit"].args if arg.startswith("--config="))
    assert (ROOT / config.removeprefix("--config=")).is_file()


def test_every_substitution_is_defined_and_used() -> None:
    text = (FOLDER / "cloudbuild.yaml").read_text(encoding="utf-8")
    body = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    used = set(re.findall(r"\$\{(_\w+)\}", body))
    assert used == set(build().substitutions)
    assert set(re.findall(r"\$\{([A-Z]\w+)\}", body)) <= {"PROJECT_ID", "BUILD_ID"}
    assert build().options.dynamicSubstitutions, "one substitution names another"


def test_what_the_build_puts_in_is_in_the_job() -> None:
    text = (FOLDER / "vertex.yaml").read_text(encoding="utf-8")
    configured = next(step for step in build().steps if step.id == "configure").args
    for pattern in (arg for arg in configured if arg.startswith("s|")):
        assert pattern.split("|")[1] in re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    [pool] = vertex().workerPoolSpecs
    assert pool.containerSpec.imageUri == "IMAGE"
    assert all(re.match(r"/gcs/BUCKET/", arg) for arg in pool.containerSpec.args if arg.startswith("/"))
