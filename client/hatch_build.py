"""Build hook: generate errata/v1 from the protos before the package is collected."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProtoBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Run generate.py, so that wheels and editable installs both contain the generated modules."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate the modules and include them although git ignores them."""
        runpy.run_path(str(Path(self.root) / "generate.py"), run_name="__main__")
        build_data["artifacts"].append("errata/v1/*")
