"""Wheel and sdist say of which commit they are made: in crystalseg/commit.txt, where `places.commit` reads it."""

import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Commit(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return  # the checkout itself tells
        places = spec_from_file_location("places", Path(self.root, "crystalseg", "places.py"))
        module = module_from_spec(places)
        places.loader.exec_module(module)  # the package itself cannot be imported here: its requirements are missing
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write(module.commit())
        self._file = file.name
        build_data["force_include"][self._file] = "crystalseg/commit.txt"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            Path(self._file).unlink()
