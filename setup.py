"""What pyproject.toml cannot say: a wheel carries the configs that lie beside the package."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies ``jobs/*.yaml`` and ``data_catalog/*.yaml`` to where ``ah_ray/shipped.py`` looks."""

    def run(self) -> None:
        """Build the package, and put the configs into it."""
        super().run()
        if self.editable_mode:  # the checkout has them
            return
        for folder in ("jobs", "data_catalog"):
            target = Path(self.build_lib, "ah_ray", "shipped", folder)
            self.mkpath(str(target))
            for file in Path(folder).glob("*.yaml"):
                self.copy_file(str(file), str(target / file.name))


setup(cmdclass={"build_py": BuildWithConfigs})
