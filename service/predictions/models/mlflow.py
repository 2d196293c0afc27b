"""mlflow:models:/NAME/VERSION: a registered version. Only safe files are read; MLflow's loaders are never called.

The first of these that the version contains is used: a predictions file (predictions.csv, .jsonl, or .parquet);
model.safetensors with an architecture of timm, from the tag errata.architecture or config.json; model.onnx with its
external data.
"""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from errata.errors import ModelNotFound, ModelRefused, Unavailable, UnsupportedFormat
from errata.json_input import parse_json

from service.domain import LabelSpace
from service.predictions.model_id import parse_mlflow_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.models import file
from service.predictions.models.loaded_model import LoadedModel
from service.predictions.models.precomputed import load_precomputed
from service.predictions.registries import mlflow_client, resolve_artifact_uri
from service.storage import temporary_folder

MAX_DEPTH = 2  # folders below that of the version
MAX_FILES = 200
METADATA = ("config.json", "classes.json")
MAX_METADATA_BYTES = 1 << 20
PREDICTIONS = (
    "predictions.csv",
    "predictions.jsonl",
    "predictions.parquet",
    "predictions.csv.gz",
    "predictions.jsonl.gz",
)
REMEDY = (
    "Log model.safetensors with a config.json or the tag errata.architecture, or model.onnx, or predictions.csv, with "
    "log_artifacts, and register that."
)


@dataclass(frozen=True)
class _Artifact:
    """A file of a version."""

    path: str  # relative to the folder of the version
    file_size: int | None

    @property
    def name(self) -> str:
        return Path(self.path).name


def load(rest: str, policy: ModelPolicy, label_space: LabelSpace) -> LoadedModel:
    """Return the model.

    Raises:
        ModelNotFound: The registry has no such version.
        UnsupportedFormat: The version has no safe file.
        Unavailable: The registry cannot be reached, or the version is not ready.
    """
    model_id, model = parse_mlflow_model(rest), f"mlflow:{rest}"
    address = policy.registry(model_id.registry, model)
    with temporary_folder() as folder:
        with mlflow_client(address) as client:
            version = client.get_model_version(model_id.name, model_id.version)
            if version.status not in ("READY", None, ""):
                raise Unavailable(
                    f"{model}: The version is {version.status}, not READY. Try again later.", retry_after=5
                )
            uri = client.get_model_version_download_uri(model_id.name, model_id.version)
            root = resolve_artifact_uri(client, uri, address)
            artifacts = _choose(model, _list_artifacts(root, "", MAX_DEPTH))
            for artifact in artifacts:
                policy.check_download(model, artifact.file_size)
                policy.check_download(model, _download(f"{root}/{artifact.path}", folder))
        try:
            name, tags = artifacts[0].name, dict(version.tags)
            return _load_file(model, name, tags, replace(policy, folder=folder), label_space)
        except ModelNotFound as error:  # the version exists, but its architecture does not
            raise ModelRefused(f"{model}: {error.message}") from error


def _list_artifacts(root: str, folder: str, depth: int) -> list[_Artifact]:
    """Return the files of a version down to a depth, without the folder `code`."""
    from mlflow.artifacts import list_artifacts

    artifacts: list[_Artifact] = []
    for entry in list_artifacts(artifact_uri=f"{root}/{folder}" if folder else root):
        path = f"{folder}/{Path(entry.path).name}" if folder else Path(entry.path).name
        if entry.is_dir:
            if depth and Path(path).name != "code":
                artifacts += _list_artifacts(root, path, depth - 1)
        else:
            artifacts.append(_Artifact(path, entry.file_size))
        if len(artifacts) > MAX_FILES:
            break
    return artifacts


def _choose(model: str, artifacts: Sequence[_Artifact]) -> list[_Artifact]:
    """Return the files to download, the main file first; raise UnsupportedFormat if there is no safe file."""
    by_name = {artifact.name: artifact for artifact in artifacts}
    predictions = [by_name[name] for name in PREDICTIONS if name in by_name]
    if predictions:
        return predictions[:1]
    metadata = [
        artifact
        for artifact in artifacts
        if artifact.name in METADATA and (artifact.file_size or 0) <= MAX_METADATA_BYTES
    ]
    weights = [artifact for artifact in artifacts if artifact.path.endswith(".safetensors")]
    if len(weights) == 1:
        return [weights[0], *_siblings(metadata, weights[0])]
    graphs = [artifact for artifact in artifacts if artifact.path.endswith(".onnx")]
    if len(graphs) == 1:
        data = [artifact for artifact in artifacts if artifact.path.endswith((".data", ".onnx_data"))]
        return [graphs[0], *_siblings(data, graphs[0]), *_siblings(metadata, graphs[0])]
    names = ", ".join(sorted(by_name)[:12]) or "none"
    raise UnsupportedFormat(
        f"{model}: No file of the version can be loaded without running code: {names:.300}. {REMEDY}"
    )


def _siblings(artifacts: Sequence[_Artifact], main: _Artifact) -> list[_Artifact]:
    return [artifact for artifact in artifacts if Path(artifact.path).parent == Path(main.path).parent]


def _download(uri: str, folder: Path) -> int:
    """Download a file; return its real size in bytes, which may differ from that in the registry."""
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory(dir=folder) as empty:
        path = Path(download_artifacts(artifact_uri=uri, dst_path=empty))
        if path.is_symlink() or not path.is_file():
            raise ModelNotFound(f"{uri} is not a file. Register the version again.", field="model")
        shutil.move(path, folder / path.name)
    return (folder / path.name).stat().st_size


def _load_file(
    model: str, name: str, tags: dict[str, str], policy: ModelPolicy, label_space: LabelSpace
) -> LoadedModel:
    """Load the main file of a version from the folder of the policy."""
    folder = policy.folder
    assert folder is not None, "This is a bug: the files were downloaded to a folder."
    if name in PREDICTIONS:
        return load_precomputed(model, folder / name, label_space)
    if name.endswith(".onnx"):
        from service.predictions.models import onnx

        loaded = onnx.load(name, policy, label_space)
    else:
        architecture = tags.get("errata.architecture") or _read_architecture(folder)
        loaded = file.load(f"{name}#{architecture}" if architecture else name, policy, label_space)
    return replace(loaded, info=replace(loaded.info, model=model))


def _read_architecture(folder: Path) -> str:
    """Return the architecture in config.json; empty if it is missing, for which the loader raises an error."""
    try:
        config = parse_json((folder / "config.json").read_text(encoding="utf-8"))
        architecture = config.get("architecture")
    except (OSError, ValueError, AttributeError):
        return ""
    return architecture if isinstance(architecture, str) else ""
