"""Families by name: built in, from installed packages, and broken ones that disturb no other."""

import sys
from pathlib import Path

import pytest
from tiny_generator import tiny_spec

from choreo.generators.registry import GROUP, GeneratorUnavailable, families, generator, generator_class
from choreo.generators.unet.generator import UNetGenerator


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a distribution with entry points of the group, and maybe a module."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(distribution: str, entries: dict[str, str], module: str = "", source: str = "") -> None:
        folder = tmp_path / f"{distribution}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {place}\n" for name, place in entries.items())
        (folder / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")
        if module:
            (tmp_path / f"{module}.py").write_text(source)
            monkeypatch.delitem(sys.modules, module, raising=False)

    return make


def test_the_built_in_family_is_found_without_torch_being_asked_for() -> None:
    assert generator_class("unet") is UNetGenerator
    assert isinstance(generator(tiny_spec()), UNetGenerator)


def test_an_unknown_family_is_refused_with_the_known_ones() -> None:
    with pytest.raises(GeneratorUnavailable, match=r"'vqvae' is installed; there are .*unet"):
        generator_class("vqvae")
    with pytest.raises(GeneratorUnavailable, match="tiny: no generator family"):
        generator(tiny_spec().model_copy(update={"family": "vqvae"}))


def test_an_installed_package_brings_a_family(install) -> None:
    source = (
        "from choreo.generators.unet.generator import UNetGenerator\nclass Mine(UNetGenerator):\n    family = 'mine'\n"
    )
    install("dancers", {"mine": "dancers_family:Mine"}, "dancers_family", source)
    assert generator_class("mine").family == "mine"
    assert "mine" in families()


@pytest.mark.parametrize(
    ("place", "source", "says"),
    [
        ("broken_family:Mine", "raise ZeroDivisionError('at import')", "ZeroDivisionError: at import"),
        ("broken_family:Mine", "import module_that_is_nowhere", "ModuleNotFoundError"),
        ("broken_family:Missing", "", "AttributeError"),
        ("broken_family:Mine", "class Mine: pass", "is not a generator class"),
        ("broken_family:Mine", "Mine = 3", "is not a generator class"),
    ],
)
def test_a_family_that_cannot_be_imported_says_so_and_disturbs_no_other(
    install, place: str, source: str, says: str
) -> None:
    install("broken", {"broken": place}, "broken_family", source)
    with pytest.raises(GeneratorUnavailable, match=f"(?s)broken.*{says}"):
        generator_class("broken")
    assert generator_class("unet") is UNetGenerator


def test_two_families_of_one_name_are_refused_where_they_are_asked_for(install) -> None:
    install("first", {"waltz": "a:A"})
    install("second", {"waltz": "b:B", "unet": "c:C"})
    with pytest.raises(GeneratorUnavailable, match=r"'waltz' is defined more than once: (a:A, b:B|b:B, a:A)"):
        generator_class("waltz")
    with pytest.raises(GeneratorUnavailable, match="'unet' is defined more than once"):
        generator_class("unet")
