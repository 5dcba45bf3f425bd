"""Where shipped files are found and where the model repository is written, in a checkout and in an installed wheel."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from wheels import create

from choreo import shipped as shipped_files
from choreo.errors import InvalidInput
from choreo.generators.checkpoint import CONFIG
from choreo.shipped import recipe_file, shipped
from serving import settings as settings_module
from serving.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkout."""
    monkeypatch.setattr(shipped_files, "CHECKOUT", None)
    monkeypatch.setattr(settings_module, "CHECKOUT", None)
    monkeypatch.delenv("CHOREO_MODEL_REPO", raising=False)


def test_a_checkout_uses_its_own_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WEIGHTS", "MODEL_REPO", "PHRASES", "TEXT_MOTION"):
        monkeypatch.delenv(f"CHOREO_{name}", raising=False)
    settings = Settings()
    assert settings.model_repo == ROOT / "model_repo"
    assert settings.weights == ROOT / "weights" / "unet-small"
    assert settings.phrases == ROOT / "weights" / "phrases"
    assert settings.text_motion == ROOT / "weights" / "tmr-small"
    assert (shipped("weights", "unet-small") / CONFIG).is_file()


def test_an_editable_install_uses_the_checkout(source: Path, tmp_path: Path) -> None:
    code = f"from setuptools import build_meta; build_meta.build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=source, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    (tmp_path / "home").mkdir()
    environment = create(tmp_path / "venv", tmp_path / "home", wheel, ())
    code = "import json; from serving.settings import Settings; print(json.dumps(Settings().model_dump(mode='json')))"
    done = environment.run("python", "-c", code)
    assert done.returncode == 0, done.stderr
    settings = json.loads(done.stdout)
    assert settings["weights"] == str(source / "weights" / "unet-small")
    assert settings["model_repo"] == str(source / "model_repo")
    assert not (source / "choreo" / "_shipped").exists()


@pytest.mark.usefixtures("installed")
def test_a_wheel_has_shipped_files_in_the_package() -> None:
    assert shipped("recipes", "cleared.yaml") == ROOT / "choreo" / "_shipped" / "recipes" / "cleared.yaml"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("cache", "expected"),
    [("/var/cache/me", "/var/cache/me"), ("relative", "/home/me/.cache"), ("", "/home/me/.cache")],
)
def test_a_wheel_writes_to_the_users_cache(cache: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert Settings().model_repo == Path(expected, "choreo", "model_repo")


@pytest.mark.usefixtures("installed")
def test_without_a_home_the_repository_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(InvalidInput, match="CHOREO_MODEL_REPO"):
        Settings()
    monkeypatch.setenv("CHOREO_MODEL_REPO", "/srv/models")
    assert Settings().model_repo == Path("/srv/models")


def test_recipes_are_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert recipe_file(Path("cleared")) == ROOT / "recipes" / "cleared.yaml"
    (tmp_path / "own.yaml").touch()
    assert recipe_file(Path("own.yaml")) == Path("own.yaml")
    (tmp_path / "demo").mkdir()
    assert recipe_file(Path("cleared")) == ROOT / "recipes" / "cleared.yaml"
    (tmp_path / "tmr-small").touch()
    assert recipe_file(Path("tmr-small")) == Path("tmr-small")


@pytest.mark.parametrize("given", ["waltz", "cleared.yaml", "../recipes/cleared", "/nowhere.yaml"])
def test_an_unknown_recipe_is_bad_input(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=r"recipe: .*\(cleared, .*everything, .*lcm, .*tmr-small\)"):
        recipe_file(Path(given))
