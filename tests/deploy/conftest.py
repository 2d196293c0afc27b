"""Renderings of deploy/kubernetes by Kustomize."""

import copy
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from missing_tools import skip_or_fail

Document = dict[str, Any]
Render = Callable[..., list[Document]]

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"


@pytest.fixture(scope="session")
def render(tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Return a function that renders an overlay, optionally with additional components."""
    program = shutil.which("kubectl")
    if program is None:
        skip_or_fail("kubectl is not installed")
    renderings: dict[tuple[str, ...], list[Document]] = {}

    def render(overlay: str, *components: str) -> list[Document]:
        if (overlay, *components) not in renderings:
            folder = KUBERNETES / "overlays" / overlay
            if components:
                own = tmp_path_factory.mktemp("own").resolve()
                parts = {
                    "resources": [os.path.relpath(folder, own)],
                    "components": [
                        os.path.relpath(KUBERNETES / "components" / component, own) for component in components
                    ],
                }
                (own / "kustomization.yaml").write_text(yaml.safe_dump(parts))
                folder = own
            run = subprocess.run([program, "kustomize", str(folder)], capture_output=True, text=True, check=False)
            assert (run.returncode, run.stderr) == (0, "")
            renderings[(overlay, *components)] = list(yaml.safe_load_all(run.stdout))
        return copy.deepcopy(renderings[(overlay, *components)])

    return render
