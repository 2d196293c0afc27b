"""The build's one custom step: generate service/pb from errata.proto before the package is collected."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProtoBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Run protos/generate.py, so that wheels and editable installs both hold the generated modules."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate the modules and tell hatchling that git ignores them on purpose."""
        runpy.run_path(str(Path(self.root) / "protos" / "generate.py"), run_name="__main__")
        build_data["artifacts"].append("service/pb/*")
