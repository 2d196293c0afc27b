"""mlflow:models:/NAME/VERSION: a registered version. Only safe files are read; MLflow's loaders are never called.

The first of these that the version contains is used: a predictions file (predictions.csv, .jsonl, or .parquet);
model.safetensors with an architecture of timm, from the tag errata.architecture or config.json; model.onnx with its
external data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from errata.errors import ModelNotFound, ModelRefused, Unavailable, UnsupportedFormat
from errata.json_input import parse_json

from service.domain import LabelSpace
from service.predictions.mlflow_client import MlflowClient
from service.predictions.model_id import parse_mlflow_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.models import file
from service.predictions.models.loaded_model import LoadedModel
from service.predictions.models.precomputed import load_precomputed
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
    size: int | None

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
        client = MlflowClient(address)
        version = client.model_version(model_id.name, model_id.version)
        if version.status not in ("READY", ""):
            raise Unavailable(f"{model}: The version is {version.status}, not READY. Try again later.", retry_after=5)
        root = client.folder_of_version(model_id.name, model_id.version)
        artifacts = _choose(model, _list_artifacts(client, root))
        for artifact in artifacts:
            policy.check_download(model, artifact.size)
            if not client.download(f"{root}/{artifact.path}", folder / artifact.name, policy.max_download_bytes):
                policy.check_download(model, policy.max_download_bytes + 1)
        try:
            name, tags = artifacts[0].name, version.tags
            return _load_file(model, name, tags, replace(policy, folder=folder), label_space)
        except ModelNotFound as error:  # the version exists, but its architecture does not
            raise ModelRefused(f"{model}: {error.message}") from error


def _list_artifacts(client: MlflowClient, root: str, folder: str = "", depth: int = MAX_DEPTH) -> list[_Artifact]:
    """Return the files of a version down to a depth, without the folder `code`."""
    artifacts: list[_Artifact] = []
    for entry in client.list_files(f"{root}/{folder}" if folder else root):
        path = f"{folder}/{entry.name}" if folder else entry.name
        if not entry.is_folder:
            artifacts.append(_Artifact(path, entry.size))
        elif depth and entry.name != "code":
            artifacts += _list_artifacts(client, root, path, depth - 1)
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
        artifact for artifact in artifacts if artifact.name in METADATA and (artifact.size or 0) <= MAX_METADATA_BYTES
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


def _load_file(
    model: str, name: str, tags: Mapping[str, str], policy: ModelPolicy, label_space: LabelSpace
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
