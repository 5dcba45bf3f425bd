"""What contributors and visitors read: documents link to what exists, and configurations name what can be run."""

import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from choreo.client.connection import KEY_VARIABLE, URL_VARIABLE
from serving.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
BUILT = frozenset({".git", ".venv", ".venv-jukebox", "build", "dist", "node_modules", "out", "runs"})
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^( *)(```|~~~).*?^\1\2[ ]*$", re.MULTILINE | re.DOTALL)
MACHINE_PATH = re.compile(r"(?<![\w.:/~-])(/(home|root|Users|work|workspace|mnt|opt|srv)/\w+|~/|[A-Z]:\\)")


def files(*suffixes: str) -> Iterator[Path]:
    """Files of the repository with one of these suffixes, without what was built or installed."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in BUILT and not f.endswith("_cache")]
        yield from (Path(folder) / name for name in sorted(names) if name.endswith(suffixes))


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def prose(document: Path) -> str:
    """Its text without fenced code."""
    return CODE.sub("", document.read_text(encoding="utf-8"))


def anchors(document: Path) -> set[str]:
    """What GitHub makes of its headings."""
    headings = re.findall(r"^#+ +(.+?) *$", prose(document), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


DOCUMENTS = sorted(files(".md"))
YAMLS = sorted(files(".yaml", ".yml", ".cff"))


def test_the_documents_are_found() -> None:
    names = {name_of(path) for path in (*DOCUMENTS, *YAMLS)}
    assert {"README.md", "docs/glossary.md", "weights/unet-small/README.md", "CITATION.cff"} <= names
    assert {".pre-commit-config.yaml", ".github/workflows/ci.yml", ".github/pull_request_template.md"} <= names


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_relative_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(prose(document)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = document.parent / path if path else document
        assert found.exists(), f"{name_of(document)} links to {target}"
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found), f"{name_of(document)} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_documents_name_no_path_of_a_machine(document: Path) -> None:
    found = MACHINE_PATH.search(document.read_text(encoding="utf-8"))
    assert found is None, found


@pytest.mark.parametrize("path", ["see /home/ann/clips", "`/work/data`", "in ~/data", r"C:\clips"])
def test_paths_of_machines_are_told_from_others(path: str) -> None:
    assert MACHINE_PATH.search(path)
    assert not MACHINE_PATH.search("docs/home/page.md, /dev/shm, https://example.org/home/x, ../opt/x, GET /v1/models")


@pytest.mark.parametrize("path", YAMLS, ids=name_of)
def test_yaml_parses(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    assert documents
    assert all(isinstance(document, dict) for document in documents)


def test_the_workflow_runs_what_a_contributor_runs() -> None:
    workflow = load(".github/workflows/ci.yml")
    (job,) = workflow["jobs"].values()
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]
    assert (ROOT / ".ci" / "run").is_file()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    assert job["timeout-minutes"] <= 120
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    assert set(workflow[True]) >= {"push", "pull_request"}  # YAML 1.1 reads the key `on` as true


def test_the_workflow_pins_actions_by_commit() -> None:
    (job,) = load(".github/workflows/ci.yml")["jobs"].values()
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert len(used) == 2
    for action in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action), action


def hooks() -> list[dict[str, Any]]:
    return [hook for repo in load(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]


def test_hooks_run_commands_that_exist() -> None:
    ran = set()
    for hook in hooks():
        assert {"id", "name", "entry", "language"} <= set(hook)
        command = hook["entry"].split()[0]
        folder, name = Path(command).parent, Path(command).name
        # The environment of a contributor is .venv; the tests may run in another one.
        path = Path(sysconfig.get_path("scripts")) if folder == Path(".venv/bin") else ROOT / folder
        assert os.access(path / name, os.X_OK), f"{hook['id']} runs {command}"
        ran.add(" ".join(hook["entry"].split()[:2]))
    assert {".venv/bin/ruff check", ".venv/bin/ruff format", ".venv/bin/mypy", ".venv/bin/lint-imports"} <= ran


def test_large_files_are_refused(tmp_path: Path) -> None:
    small, large = tmp_path / "small file", tmp_path / "large file"
    small.write_bytes(bytes(1024))
    large.write_bytes(bytes(1025))

    def check(*paths: Path) -> subprocess.CompletedProcess[str]:
        command = [str(ROOT / ".ci" / "large-files"), "1", *map(str, paths)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert check(small).returncode == 0
    refused = check(large, small)
    assert refused.returncode == 1
    assert "large file has 1025 bytes" in refused.stderr
    assert "small file" not in refused.stderr


def test_weights_have_a_limit_of_their_own() -> None:
    limits = {hook["id"]: hook for hook in hooks() if hook["entry"].startswith(".ci/large-files")}
    assert re.match(limits["large-weights"]["files"], "weights/unet-small/model.safetensors")
    assert limits["large-files"]["exclude"] == limits["large-weights"]["files"]


@pytest.mark.parametrize("name", ["bug.yml", "feature.yml"])
def test_issue_forms_are_forms(name: str) -> None:
    form = load(f".github/ISSUE_TEMPLATE/{name}")
    assert {"name", "description", "body"} <= set(form)
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in asked}) == len(asked)
    assert all(part["attributes"]["label"] for part in asked)
    assert any(part.get("validations", {}).get("required") for part in asked)


def test_the_citation_has_what_the_format_asks_for() -> None:
    citation = load("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"] == [{"name": "The choreo authors"}]
    assert citation["license"] == "Apache-2.0"
    assert f"\n## [{citation['version']}] - {citation['date-released']}\n" in changelog()


def changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_changelog_keeps_its_form() -> None:
    versions = re.findall(r"^## (.+)$", changelog(), re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version) for version in versions[1:])
    kinds = set(re.findall(r"^### (.+)$", changelog(), re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert f"[{version}]" in versions[1]


def test_the_glossary_has_ten_terms_and_their_owners() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert [term.splitlines()[0] for term in terms] == [
        "row", "window", "timeline", "step batch", "phrase", "prior", "conditioning", "generator", "graph", "preset",
    ]  # fmt: skip
    for term in terms:
        (owner,) = re.findall(r"Owner:\s+`([^`]+)`\.", term)
        assert (ROOT / owner).is_file(), owner


def test_documented_settings_exist() -> None:
    known = {f"CHOREO_{name.upper()}" for name in Settings.model_fields} | {"CHOREO_DATA", URL_VARIABLE, KEY_VARIABLE}
    for name in ("docs/stability.md", "docs/known_issues.md", "SECURITY.md"):
        used = set(re.findall(r"CHOREO_[A-Z_]+[A-Z]", (ROOT / name).read_text(encoding="utf-8")))
        assert used
        assert used <= known, f"{name}: {sorted(used - known)}"
