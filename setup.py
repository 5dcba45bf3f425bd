"""The build step that pyproject.toml cannot express: weights and recipes go into the wheel as package data.

They lie at the top of the checkout; in a wheel they are in `choreo/_shipped`, where `choreo.shipped` looks for them.
An editable install goes on using those of the checkout.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("weights", "recipes")


class BuildWithShippedFiles(build_py):
    """Copies the shipped folders into the package."""

    def run(self) -> None:
        """Build into an empty folder: modules that an earlier build left there would get into the wheel."""
        if self.editable_mode:
            return
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        for folder in SHIPPED:
            target = Path(self.build_lib, "choreo", "_shipped", folder)
            shutil.copytree(folder, target, ignore=shutil.ignore_patterns(".*"))


setup(cmdclass={"build_py": BuildWithShippedFiles})
