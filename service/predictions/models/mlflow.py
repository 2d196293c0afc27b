"""mlflow:models:/NAME/VERSION: a registered version, from safe files alone; no MLflow loader is ever called.

Taken, in this order: a predictions file (predictions.csv, .jsonl or .parquet, no model at all); model.safetensors with
an architecture of timm, named by the tag errata.architecture or by config.json; model.onnx with its external data.
"""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from errata.errors import ModelNotFound, ModelRefused, Unavailable, UnsupportedFormat
from errata.json_input import parse_json

from service.predictions.model_id import parse_mlflow_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.models import file
from service.predictions.models.loaded_model import LoadedModel
from service.predictions.models.precomputed import load_precomputed
from service.predictions.registries import mlflow_client, resolve_artifact_uri
from service.storage import temporary_folder

DEPTH = 2  # folders below the version's own
MOST_FILES = 200
KEPT = ("config.json", "classes.json")
SMALL = 1 << 20  # bytes of those
PREDICTIONS = (
    "predictions.csv",
    "predictions.jsonl",
    "predictions.parquet",
    "predictions.csv.gz",
    "predictions.jsonl.gz",
)
SAFE_WAYS = (
    "log model.safetensors with config.json or the tag errata.architecture, or model.onnx, or a predictions file "
    "(predictions.csv), with log_artifacts, and register that"
)


@dataclass(frozen=True)
class _File:
    """A file of a version."""

    path: str  # below the version's own
    file_size: int | None


def load(rest: str, policy: ModelPolicy) -> LoadedModel:
    """Return the model; raise ModelNotFound, UnsupportedFormat with the safe ways, or Unavailable."""
    asked, model = parse_mlflow_model(rest), f"mlflow:{rest}"
    address = policy.registry(asked.registry, model)
    with temporary_folder() as folder:
        with mlflow_client(address) as client:
            version = client.get_model_version(asked.name, asked.version)
            if version.status not in ("READY", None, ""):
                raise Unavailable(f"{model}: it is {version.status}, not yet READY", retry_after=5)
            root = resolve_artifact_uri(
                client, client.get_model_version_download_uri(asked.name, asked.version), address
            )
            chosen = _choose(model, _listed(root, "", DEPTH))
            for item in chosen:
                policy.check_download(model, item.file_size)
                policy.check_download(model, _fetch(f"{root}/{item.path}", folder))
        try:
            return _loaded(model, folder, [Path(item.path).name for item in chosen], dict(version.tags), policy)
        except ModelNotFound as error:  # the version is there; its architecture isn't
            raise ModelRefused(f"{model}: {error.message}") from error


def _listed(root: str, below: str, depth: int) -> list[_File]:
    """Return the files of a version, a few folders deep; `code` is none of them."""
    from mlflow.artifacts import list_artifacts

    result: list[_File] = []
    for list_artifact in list_artifacts(artifact_uri=f"{root}/{below}" if below else root):
        path = f"{below}/{Path(list_artifact.path).name}" if below else Path(list_artifact.path).name
        if list_artifact.is_dir:
            if depth and Path(path).name != "code":
                result += _listed(root, path, depth - 1)
        else:
            result.append(_File(path, list_artifact.file_size))
        if len(result) > MOST_FILES:
            break
    return result


def _choose(model: str, listed: Sequence[_File]) -> list[_File]:
    """Return the files to fetch; raise UnsupportedFormat if none of the safe ways is there."""
    by_name = {Path(item.path).name: item for item in listed}
    known = [by_name[name] for name in PREDICTIONS if name in by_name]
    if known:
        return known[:1]
    beside = [item for item in listed if Path(item.path).name in KEPT and (item.file_size or 0) <= SMALL]
    tensors = [item for item in listed if item.path.endswith(".safetensors")]
    if len(tensors) == 1:
        return [tensors[0], *_siblings(beside, tensors[0])]
    graphs = [item for item in listed if item.path.endswith(".onnx")]
    if len(graphs) == 1:
        data = [item for item in listed if item.path.endswith((".data", ".onnx_data"))]
        return [graphs[0], *_siblings(data, graphs[0]), *_siblings(beside, graphs[0])]
    names = ", ".join(sorted(by_name)[:12]) or "none"
    raise UnsupportedFormat(f"{model}: expected weights that need no code to be loaded, got {names:.300}: {SAFE_WAYS}")


def _siblings(files: Sequence[_File], of: _File) -> list[_File]:
    return [item for item in files if Path(item.path).parent == Path(of.path).parent]


def _fetch(uri: str, folder: Path) -> int:
    """Fetch a file; return its size in bytes, whatever the registry said."""
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory(dir=folder) as empty:
        path = Path(download_artifacts(artifact_uri=uri, dst_path=empty))
        if path.is_symlink() or not path.is_file():
            raise ModelNotFound(f"{uri}: expected a file, got none", field="model")
        shutil.move(path, folder / path.name)
    return (folder / path.name).stat().st_size


def _loaded(model: str, folder: Path, names: Sequence[str], tags: dict[str, str], policy: ModelPolicy) -> LoadedModel:
    name, inside = names[0], replace(policy, folder=folder)
    if name in PREDICTIONS:
        return load_precomputed(model, folder / name)
    if name.endswith(".onnx"):
        from service.predictions.models import onnx

        result = onnx.load(name, inside)
    else:
        architecture = tags.get("errata.architecture") or _architecture(folder)
        result = file.load(f"{name}#{architecture}" if architecture else name, inside)
    return replace(result, info=replace(result.info, model=model))


def _architecture(folder: Path) -> str:
    """Return the architecture in config.json; empty where it says none, and the loader then says what is missing."""
    try:
        config = parse_json((folder / "config.json").read_text(encoding="utf-8"))
        result = config.get("architecture")
    except (OSError, ValueError, AttributeError):
        return ""
    return result if isinstance(result, str) else ""
