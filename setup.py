"""Puts the bundles and the label app, which lie at the root of the repository, into ``monai_dgm`` of a wheel.

An editable installation leaves them where they are: ``monai_dgm/utils/bundle_files.py`` finds both places. The wheel's
description is the README without links and pictures of the repository, which lead nowhere outside it. All else about
the package is in setup.cfg.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# what a user of the package needs: no outputs and no weights of a training
SHIPPED = (
    "bundles/*/LICENSE",
    "bundles/*/configs/*",
    "bundles/*/docs/*",
    "bundles/*/models/shipped/*",
    "apps/radiology_dgm/**/*",
)


class BuildWithBundles(build_py):
    """Copies the files of :data:`SHIPPED` to ``monai_dgm/`` of what is built."""

    def run(self) -> None:
        """Build the package, then add the files."""
        super().run()
        if not self.editable_mode:
            for source, target in self._shipped():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_source_files(self) -> list[str]:
        """Also the files that are added, so that the source distribution has them."""
        return [*super().get_source_files(), *(str(source) for source, _ in self._shipped())]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Also the files that are added."""
        return [*super().get_outputs(include_bytecode), *(str(target) for _, target in self._shipped())]

    def _shipped(self) -> list[tuple[Path, Path]]:
        files = sorted(path for pattern in SHIPPED for path in Path().glob(pattern) if path.is_file() and _wanted(path))
        return [(path, Path(self.build_lib, "monai_dgm", path)) for path in files]


def _wanted(path: Path) -> bool:
    """Whether no part of a path is a cache or hidden: the fetched viewer is."""
    return not any(part.startswith((".", "__pycache__")) for part in path.parts)


def readme() -> str:
    """The README as it reads outside the repository; links of the web stay."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    inside = r"\((?!https?:)[^)]*\)"
    text = re.sub(rf"!\[([^\]]*)\]{inside}", r"*Picture, in the repository: \1.*", text)
    return re.sub(rf"\[([^\]]*)\]{inside}", r"\1", text)


setup(long_description=readme(), cmdclass={"build_py": BuildWithBundles})
