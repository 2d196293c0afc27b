"""mlflow:models:/NAME/VERSION: a registered version. Only safe files are read; MLflow's loaders are never called.

See artifact_files.py for the files. The tag errata.architecture names an architecture of timm.
"""

from dataclasses import replace

from errata.errors import Unavailable

from service.domain import LabelSpace
from service.predictions.mlflow_client import MlflowClient
from service.predictions.model_id import parse_mlflow_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.artifact_files import ArtifactFile, choose_files, load_files
from service.predictions.models.loaded_model import LoadedModel
from service.storage import temporary_folder

MAX_DEPTH = 2  # maximum depth of folders below that of the version
MAX_FILES = 200
REMEDY = (
    "Log model.safetensors with a config.json or the tag errata.architecture, or model.onnx, or predictions.csv, with "
    "log_artifacts, and register that."
)


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
        artifacts = choose_files(model, _list_artifacts(client, root), REMEDY)
        policy.check_download(model, sum(max(0, artifact.size or 0) for artifact in artifacts))
        remaining = policy.max_download_bytes  # limits the received bytes, whatever sizes the registry lists
        for artifact in artifacts:
            if not client.download(f"{root}/{artifact.path}", folder / artifact.name, remaining):
                policy.check_download(model, policy.max_download_bytes + 1)
            remaining -= (folder / artifact.name).stat().st_size
        architecture = version.tags.get("errata.architecture", "")
        return load_files(model, artifacts[0].name, architecture, replace(policy, folder=folder), label_space)


def _list_artifacts(client: MlflowClient, root: str, folder: str = "", depth: int = MAX_DEPTH) -> list[ArtifactFile]:
    """Return the files of a version, down to a maximum depth. Skip the folder `code`."""
    artifacts: list[ArtifactFile] = []
    for entry in client.list_files(f"{root}/{folder}" if folder else root):
        path = f"{folder}/{entry.name}" if folder else entry.name
        if not entry.is_folder:
            artifacts.append(ArtifactFile(path, entry.size))
        elif depth and entry.name != "code":
            artifacts += _list_artifacts(client, root, path, depth - 1)
        if len(artifacts) > MAX_FILES:
            break
    return artifacts
