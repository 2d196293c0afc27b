"""mlflow:models:/NAME/VERSION: a registered version, from safe files alone; no MLflow loader is ever called.

Taken, in this order: a predictions file (predictions.csv, .jsonl or .parquet, no model at all); model.safetensors with
an architecture of timm, named by the tag errata.architecture or by config.json; model.onnx with its external data.
"""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from service.errors import ModelNotFound, ModelRefused, Unavailable, UnsupportedFormat
from service.json_input import parse_json
from service.predictions.model_id import parse_mlflow_model
from service.predictions.models import file
from service.predictions.models.known import read_known
from service.predictions.models.loaded import LoadedModel
from service.predictions.policy import ModelPolicy
from service.predictions.registries import mlflow_at, place_of
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
        with mlflow_at(address) as client:
            version = client.get_model_version(asked.name, asked.version)
            if version.status not in ("READY", None, ""):
                raise Unavailable(f"{model}: it is {version.status}, not yet READY", retry_after=5)
            root = place_of(client, client.get_model_version_download_uri(asked.name, asked.version), address)
            chosen = _choose(model, _listed(root, "", DEPTH))
            for each in chosen:
                policy.check_download(model, each.file_size)
                policy.check_download(model, _fetch(f"{root}/{each.path}", folder))
        try:
            return _loaded(model, folder, [Path(each.path).name for each in chosen], dict(version.tags), policy)
        except ModelNotFound as error:  # the version is there; its architecture isn't
            raise ModelRefused(f"{model}: {error.message}") from error


def _listed(root: str, below: str, depth: int) -> list[_File]:
    """Return the files of a version, a few folders deep; `code` is none of them."""
    from mlflow.artifacts import list_artifacts

    found: list[_File] = []
    for each in list_artifacts(artifact_uri=f"{root}/{below}" if below else root):
        path = f"{below}/{Path(each.path).name}" if below else Path(each.path).name
        if each.is_dir:
            if depth and Path(path).name != "code":
                found += _listed(root, path, depth - 1)
        else:
            found.append(_File(path, each.file_size))
        if len(found) > MOST_FILES:
            break
    return found


def _choose(model: str, listed: Sequence[_File]) -> list[_File]:
    """Return the files to fetch; raise UnsupportedFormat if none of the safe ways is there."""
    by_name = {Path(each.path).name: each for each in listed}
    known = [by_name[name] for name in PREDICTIONS if name in by_name]
    if known:
        return known[:1]
    beside = [each for each in listed if Path(each.path).name in KEPT and (each.file_size or 0) <= SMALL]
    tensors = [each for each in listed if each.path.endswith(".safetensors")]
    if len(tensors) == 1:
        return [tensors[0], *_siblings(beside, tensors[0])]
    graphs = [each for each in listed if each.path.endswith(".onnx")]
    if len(graphs) == 1:
        data = [each for each in listed if each.path.endswith((".data", ".onnx_data"))]
        return [graphs[0], *_siblings(data, graphs[0]), *_siblings(beside, graphs[0])]
    names = ", ".join(sorted(by_name)[:12]) or "none"
    raise UnsupportedFormat(f"{model}: expected weights that need no code to be loaded, got {names:.300}: {SAFE_WAYS}")


def _siblings(files: Sequence[_File], of: _File) -> list[_File]:
    return [each for each in files if Path(each.path).parent == Path(of.path).parent]


def _fetch(uri: str, folder: Path) -> int:
    """Fetch a file; return its size in bytes, whatever the registry said."""
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory(dir=folder) as empty:
        found = Path(download_artifacts(artifact_uri=uri, dst_path=empty))
        if found.is_symlink() or not found.is_file():
            raise ModelNotFound(f"{uri}: expected a file, got none", field="model")
        shutil.move(found, folder / found.name)
    return (folder / found.name).stat().st_size


def _loaded(model: str, folder: Path, names: Sequence[str], tags: dict[str, str], policy: ModelPolicy) -> LoadedModel:
    name, inside = names[0], replace(policy, folder=folder)
    if name in PREDICTIONS:
        return read_known(model, folder / name)
    if name.endswith(".onnx"):
        from service.predictions.models import onnx

        found = onnx.load(name, inside)
    else:
        architecture = tags.get("errata.architecture") or _architecture(folder)
        found = file.load(f"{name}#{architecture}" if architecture else name, inside)
    return replace(found, info=replace(found.info, model=model))


def _architecture(folder: Path) -> str:
    """Return the architecture in config.json; empty where it says none, and the loader then says what is missing."""
    try:
        config = parse_json((folder / "config.json").read_text(encoding="utf-8"))
        found = config.get("architecture")
    except (OSError, ValueError, AttributeError):
        return ""
    return found if isinstance(found, str) else ""
