"""Wheels: built from a source tree, and installed with nothing but the declared dependencies.

These are links to what is installed here; installing them would take gigabytes and minutes. A dependency that the wheel
does not declare is missing there, as it would be for a user, and so is the checkout: an editable install is none.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

Location = tuple[str, ...]


@dataclass(frozen=True)
class LinkedEnvironment:
    """Made by `create`; `home` is the user's home folder and the working directory of what runs."""

    folder: Path
    home: Path

    @property
    def site_packages(self) -> Path:
        """Where the wheel is installed."""
        return self.folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

    def environ(self) -> dict[str, str]:
        """Variables that show a process nothing of the checkout and of this environment."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("PYTHON", "CHOREO_", "XDG_", "VIRTUAL_ENV"))}
        return kept | {"HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / "cache")}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs to its end."""
        program = [str(self.folder / "bin" / command[0]), *command[1:]]
        return subprocess.run(
            program, cwd=self.home, env=self.environ(), capture_output=True, text=True, timeout=300, check=False
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start one of the environment's programs."""
        program = [str(self.folder / "bin" / command[0]), *command[1:]]
        return subprocess.Popen(
            program, cwd=self.home, env=self.environ(), stderr=subprocess.PIPE, text=True, start_new_session=True
        )


def build_wheel(source: Path, folder: Path) -> Path:
    """The wheel of a source tree, built with what is installed."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    options = ["-q", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([*pip, "wheel", *options, str(source)], check=True, cwd=source, timeout=300)
    (wheel,) = folder.glob("*.whl")
    return wheel


def create(folder: Path, home: Path, wheel: Path, extras: Iterable[str]) -> LinkedEnvironment:
    """An environment in `folder` with the wheel and the dependencies of these extras."""
    made = LinkedEnvironment(folder, home)
    venv.create(made.folder, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(made.folder / "bin" / "python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", str(wheel)], env=made.environ(), check=True)
    (info,) = made.site_packages.glob("*.dist-info")
    _link(_required(Distribution.at(info), extras), Path(sysconfig.get_path("purelib")), made.site_packages)
    return made


def _required(root: Distribution, extras: Iterable[str]) -> set[str]:
    """Names of everything that a distribution depends on, directly or not."""
    pending = [(root, extra) for extra in ("", *extras)]
    seen = set()
    for package, extra in pending:
        for requirement in map(Requirement, package.requires or ()):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            name = canonicalize_name(requirement.name)
            new = {(name, wanted) for wanted in ("", *requirement.extras)} - seen
            pending += [(distribution(name), wanted) for _, wanted in new]
            seen |= new
    return {name for name, _ in seen}


def _link(names: set[str], source: Path, target: Path) -> None:
    """Link what these distributions have in `source`, whole folders where no other distribution has files."""
    owners: dict[Location, set[str]] = defaultdict(set)
    for package in distributions(path=[str(source)]):
        name = canonicalize_name(package.name)
        for file in package.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                for depth in range(len(file.parts)):
                    owners[file.parts[: depth + 1]].add(name)
    linked: set[Location] = set()
    for place, owning in owners.items():  # parents come before their children
        if any(place[:depth] in linked for depth in range(1, len(place))):
            continue
        if owning <= names:
            target.joinpath(*place).symlink_to(source.joinpath(*place))
            linked.add(place)
        elif owning & names:
            target.joinpath(*place).mkdir(exist_ok=True)
