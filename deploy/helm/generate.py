"""Write the files of the Helm chart that come from deploy/kubernetes.

The chart has no copy of the manifests that somebody edits. `manifests/PART/KIND-NAME.yaml` are the objects of the base
and of each component, and `patches/PART/KIND-NAME.yaml` are the changes that a component or overlay makes to objects of
other parts. The chart's templates apply the patches as Kustomize does.

`manifests/settings.yaml` has the names of the settings of service/settings.py: the templates refuse others.

Run `python deploy/helm/generate.py` after a change of deploy/kubernetes or of settings. It needs kubectl.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from service.settings import PREFIX, Settings

Document = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "errata"
OVERLAYS = ("cpu", "gpu", "trial")  # the other overlays only combine components


class _Dumper(yaml.SafeDumper):
    """Writes repeated content instead of YAML anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def chart_files() -> dict[str, str]:
    """Return the content of the generated files by path, relative to the chart."""
    documents = [("manifests/base", document) for document in _render_base() if document["kind"] != "Namespace"]
    for folder in [*sorted((KUBERNETES / "components").iterdir()), *(KUBERNETES / "overlays" / o for o in OVERLAYS)]:
        part = yaml.safe_load((folder / "kustomization.yaml").read_text())
        documents += [(f"manifests/{folder.name}", document) for document in _objects(folder, part)]
        documents += [(f"patches/{folder.name}", document) for document in _patches(folder, part)]
    names = [PREFIX + name.upper() for name in Settings.model_fields]
    files = {"manifests/settings.yaml": yaml.safe_dump(names)}
    for place, document in documents:
        path = f"{place}/{document['kind']}-{document['metadata']['name']}.yaml"
        if path in files:
            raise ValueError(f"There are two documents for {path}. Merge them in deploy/kubernetes.")
        files[path] = _dump(document)
    return files


def write_chart() -> None:
    """Replace the generated files of the chart. They stay as they are if one of them cannot be rendered."""
    files = chart_files()
    for folder in ("manifests", "patches"):
        shutil.rmtree(CHART / folder, ignore_errors=True)
    for path, text in files.items():
        (CHART / path).parent.mkdir(parents=True, exist_ok=True)
        (CHART / path).write_text(text)


def _render_base() -> list[Document]:
    """Return the objects of the base; ConfigMaps have their names without a hash.

    Raises:
        ValueError: kubectl is missing or cannot render the base.
    """
    command = ["kubectl", "kustomize", str(KUBERNETES / "base")]
    if shutil.which("kubectl") is None:
        raise ValueError("kubectl is not installed. Install it, and add it to PATH.")
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise ValueError(f"kubectl cannot render deploy/kubernetes/base:\n{run.stderr.strip()}")
    text = run.stdout
    for document in yaml.safe_load_all(text):
        if document["kind"] == "ConfigMap":
            name = document["metadata"]["name"]
            text = text.replace(name, re.sub(r"-[a-z0-9]{10}$", "", name))
    return list(yaml.safe_load_all(text))


def _objects(folder: Path, part: Document) -> Iterator[Document]:
    """Yield the objects that a component adds."""
    for resource in part.get("resources", []):
        if (folder / resource).is_file():
            yield from yaml.safe_load_all((folder / resource).read_text())
    for generator in part.get("configMapGenerator", []):
        if generator.get("behavior") != "merge":
            yield _config_map(generator["name"], {path: (folder / path).read_text() for path in generator["files"]})


def _patches(folder: Path, part: Document) -> Iterator[Document]:
    """Yield the changes that a component or overlay makes to objects of other parts."""
    for generator in part.get("configMapGenerator", []):
        if generator.get("behavior") == "merge":
            yield _config_map(generator["name"], dict(literal.split("=", 1) for literal in generator["literals"]))
    for patch in part.get("patches", []):
        yield yaml.safe_load(patch.get("patch") or (folder / patch["path"]).read_text())


def _config_map(name: str, data: dict[str, str]) -> Document:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def _dump(document: Document) -> str:
    document["metadata"].pop("namespace", None)  # that of the release
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120)


if __name__ == "__main__":
    try:
        write_chart()
    except ValueError as error:
        sys.exit(str(error))
